// Puts the Bokeh document, which comes without data, into the page, and fills it.
async function start() {
  const { doc, roots } = JSON.parse(byId("figures").textContent);
  await Bokeh.embed.embed_items({ page: doc }, [{ docid: "page", roots, root_ids: Object.keys(roots) }]);
  const held = Bokeh.documents.at(-1);
  model = (name) => held.get_model_by_name(name);
  pixels = model("map-source").data.prediction[0].constructor;
  fill(byId("score"), Object.keys(data.benchmark.scores), (name) => data.benchmark.scores[name].heading);
  byId("score").value = "macro_f1";
  fill(byId("scenario-choice"), data.benchmark.ids);
  byId("scenario-choice").value = data.first;
  byId("score").addEventListener("change", showBenchmark);
  byId("scenario-choice").addEventListener("change", (event) => chooseScenario(event.target.value));
  for (const link of document.querySelectorAll("[data-scenario]"))
    link.addEventListener("click", () => chooseScenario(link.dataset.scenario));
  for (const box of document.querySelectorAll(".scroll")) box.addEventListener("scroll", markScrolling, { passive: true });
  addEventListener("resize", layout);
  if (maps.views.length) viewer();
  themes();
  showBenchmark();
  await showViews(data.first);
  markScrolling();
  document.documentElement.dataset.ready = "yes";
}
start().catch((error) => {
  byId("failed").hidden = false;
  byId("failed").textContent = `The page could not be drawn (${error.message}); expected a browser of 2024 or later: update it.`;
  throw error;
});

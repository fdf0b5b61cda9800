// What the theme leaves out for keyboards and screen readers: levels of its captions, focus for what scrolls.
document.addEventListener("DOMContentLoaded", () => {
  for (const caption of document.querySelectorAll("p.caption[role=heading]")) caption.setAttribute("aria-level", "2");
  const focus = () => {
    for (const part of document.querySelectorAll("pre, .table-wrapper, .math, .output_area, .output, dl dt.sig"))
      if (part.scrollWidth > part.clientWidth || part.scrollHeight > part.clientHeight) part.tabIndex = 0;
  };
  focus();
  window.addEventListener("resize", focus);
});

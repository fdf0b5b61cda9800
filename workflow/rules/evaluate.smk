"""Scores, areas and the benchmark's tables."""


rule evaluate:
    input:
        **AS_PACKED,
        ids=of_scenario("prediction_ids.csv"),
        prediction=of_scenario("prediction.npy"),
        edges=of_scenario("edges.npy"),
        calibration=of_scenario("calibration.npz"),
        history=where(RUN.trained, HISTORY),
        split=of_split("split.csv"),
        distances=results("distances.csv"),
        parts=where(RUN.released if RUN.published_data else [], results("split.json")),
    output:
        metrics=scores("metrics.json"),
        summary=SUMMARY,
        patches=scores("patches.npz"),
        classes=scores("classes.csv"),
        confusion=scores("confusion.csv"),
    log:
        logs("evaluate/{scenario}"),
    benchmark:
        timings("evaluate/{scenario}")
    conda:
        CONDA_LIGHT
    params:
        code=package_digest("evaluate"),
        dataset=RUN.looks,
        scenario=by_scenario(RUN.fields),
        label=RUN.label,
    script:
        "../scripts/evaluate.py"


rule areas:
    input:
        mosaic=of_scenario("mosaic"),
        patches=scores("patches.npz"),
    output:
        areas=scores("areas.csv"),
    log:
        logs("areas/{scenario}"),
    benchmark:
        timings("areas/{scenario}")
    conda:
        CONDA_LIGHT
    params:
        code=package_digest("areas"),
        dataset=RUN.looks,
        scenario=by_scenario(RUN.fields),
    script:
        "../scripts/areas.py"


rule benchmark:
    input:
        metrics=each_scenario(scores("metrics.json")),
        patches=each_scenario(scores("patches.npz")),
        paper=os.path.relpath(SOURCE / "reference/paper_scores.csv"),
        parts=results("split.json"),
    output:
        csv=report(
            results("benchmark.csv"),
            category="Benchmark",
            caption="../report/benchmark.rst",
        ),
        classes=report(
            results("benchmark_classes.csv"),
            category="Benchmark",
            caption="../report/benchmark.rst",
        ),
        pairs=report(
            results("benchmark_pairs.csv"),
            category="Benchmark",
            caption="../report/benchmark.rst",
        ),
        markdown=results("benchmark.md"),
        latex=results("benchmark.tex"),
        chart=report(
            results("benchmark.svg"),
            category="Benchmark",
            caption="../report/benchmark.rst",
        ),
    log:
        logs("benchmark"),
    benchmark:
        timings("benchmark")
    conda:
        CONDA_LIGHT
    params:
        code=package_digest("benchmark"),
        dataset=RUN.looks,
        scenarios=list(RUN.scenarios),
        label=RUN.label,
    script:
        "../scripts/benchmark.py"

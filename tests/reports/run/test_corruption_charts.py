import re

import run_documents

from fer.reports.run import corruption_charts


def titles(chart) -> list[str]:
    return re.findall(r"<title>([^<]*)</title>", str(chart))


def test_there_is_a_chart_a_group_with_the_means_of_its_kinds():
    robustness = run_documents.made()["robustness"]
    charts = dict(corruption_charts.charts(robustness))
    assert list(charts) == ["Noise", "Blur", "Light", "Digital", "Pose"]
    blur = [kind for kind in robustness["corruptions"] if kind["group"] == "blur"]
    mean = sum(kind["severities"][2]["accuracy"] for kind in blur) / len(blur)
    assert f"this model, severity 3: {mean:.3g}" in titles(charts["Blur"])
    champion = robustness["comparison"]["champion_groups"][1]["accuracies"][4]
    assert f"champion, severity 5: {champion:.3g}" in titles(charts["Blur"])


def test_without_a_champion_there_is_no_line_of_it():
    robustness = run_documents.made(with_champion=False)["robustness"]
    for _, chart in corruption_charts.charts(robustness):
        assert not any(title.startswith("champion") for title in titles(chart))
        assert f"as they are, severity 1: {robustness['accuracy']:.3g}" in titles(chart)


def test_what_was_not_measured_or_at_one_severity_alone_has_no_chart():
    assert corruption_charts.charts(None) == []
    robustness = run_documents.made()["robustness"]
    for group in robustness["groups"]:
        group["severities"] = group["severities"][:1]
    assert corruption_charts.charts(robustness) == []

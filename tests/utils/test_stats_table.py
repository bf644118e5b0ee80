"""The table of periods that a terminal shows in place of the JSON."""

from __future__ import annotations

from slowfast.utils.stats_table import StatsTable, period_row

PERIOD = {
    "_type": "train_iter",
    "epoch": "3/18",
    "iter": "10/25",
    "lr": 0.00174077,
    "loss": 4.15389,
    "verb": 2.10146,
    "noun": 2.05243,
    "pairs_kept": 0.94,
    "grad_norm": 5.3,
    "sec_per_step": 0.370192,
    "data_wait": 0.137,
    "eta_sec": 3741,
    "memory_gib": 0.44,
    "verb_top1": 17.5,
}


LOSSES = ["verb", "noun"]


def test_a_period_is_one_row_under_its_titles() -> None:
    lines = StatsTable().lines(period_row(PERIOD, LOSSES), 80)
    assert lines == [
        "                           verb      sec/ data    time",
        "epoch  step loss verb noun top1   lr step wait    left",
        " 3/18 10/25 4.15 2.10 2.05 17.5 2e-3 0.37  14% 1:02:21",
    ]


def test_titles_come_again_with_other_columns_and_after_a_screen() -> None:
    table, row = StatsTable(), period_row(PERIOD, LOSSES)
    assert len(table.lines(row, 80)) == 3
    assert [len(table.lines(row, 80)) for _ in range(20)] == [1] * 19 + [3]
    assert len(table.lines(period_row(PERIOD, [*LOSSES, "align"]), 80)) == 3


def test_a_mean_over_no_step_is_missing() -> None:
    stats = {name: value for name, value in PERIOD.items() if name not in ("loss", "verb")}
    row = period_row(stats, LOSSES)
    assert (row["loss"], row["verb"], row["noun"]) == ("-", "-", "2.05")


def test_all_losses_of_sum_l_fit_into_eighty_columns() -> None:
    """Accuracies are left out for it; a wider terminal has them."""
    losses = ["ego_verb", "ego_noun", "exo_verb", "exo_noun", "ego_text", "exo_text", "align"]
    stats = {**PERIOD, **dict.fromkeys(losses, 17.234), "noun_top1": 100.0}
    narrow, wide = (StatsTable().lines(period_row(stats, losses), width) for width in (80, 120))
    assert max(map(len, narrow)) <= 80
    assert narrow[-1].count("17.2") == len(losses)
    assert "100.0" in wide[-1]
    assert "100.0" not in narrow[-1]

"""The head: global and window pooling, activations, training and eval."""

import pytest
import torch

from slowfast.models.heads import Head

CLASSES = (5, 7)
CHANNELS = (8, 3)


def make_head(**options):
    torch.manual_seed(0)
    return Head(sum(CHANNELS), CLASSES, **options)


def make_features(height=4, width=4, clips=2):
    draw = torch.Generator().manual_seed(3)
    return [
        torch.randn(clips, c, t, height, width, generator=draw)
        for c, t in zip(CHANNELS, (2, 8), strict=True)
    ]


def naive_scores(head, features, window, activation):
    """One classification per window position, then the mean: by loops."""
    slow = features[0]
    height, width = slow.shape[3:]
    down, across = min(window, height), min(window, width)
    per_task = []
    for projection in head.projections:
        clips = []
        for n in range(len(slow)):
            scores = []
            for y in range(height - down + 1):
                for x in range(width - across + 1):
                    pooled = torch.stack(
                        [
                            f[n, c, :, y : y + down, x : x + across].mean()
                            for f in features
                            for c in range(f.shape[1])
                        ]
                    )
                    scores.append(activation(projection.weight @ pooled + projection.bias))
            clips.append(torch.stack(scores).mean(0))
        per_task.append(torch.stack(clips))
    return per_task


def assert_scores(ours, theirs):
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


def softmax(x):
    return x.softmax(0)


def identity(x):
    return x


@pytest.mark.parametrize(("height", "width"), [(3, 3), (4, 4), (5, 4), (2, 2), (3, 6)])
@pytest.mark.parametrize(
    ("activation", "function"), [("softmax", softmax), ("sigmoid", torch.sigmoid)]
)
def test_windows_are_classified_and_then_averaged(height, width, activation, function):
    head = make_head(window=3, activation=activation).eval()
    features = make_features(height, width)
    assert_scores(head(features), naive_scores(head, features, 3, function))


@pytest.mark.parametrize("training", [False, True])
def test_windows_without_activation_average_logits(training):
    head = make_head(window=3, no_act=not training).train(training)
    features = make_features(5, 4)
    assert_scores(head(features), naive_scores(head, features, 3, identity))


def test_activation_then_mean_is_not_mean_then_activation():
    features = [20 * x for x in make_features()]
    scores = make_head(window=3).eval()(features)[0]
    logits = make_head(window=3, no_act=True).eval()(features)[0]
    assert (scores - logits.softmax(1)).abs().max() > 1e-2


@pytest.mark.parametrize(("height", "width"), [(1, 1), (4, 4), (5, 3)])
def test_global_pooling_is_one_window_of_the_whole_map(height, width):
    head = make_head().eval()
    features = make_features(height, width)
    assert head.pool(features).shape == (2, 1, sum(CHANNELS))
    assert_scores(head(features), naive_scores(head, features, 99, softmax))


def test_window_and_global_agree_where_one_window_covers_the_map():
    features = make_features(3, 3)
    assert_scores(make_head(window=3).eval()(features), make_head().eval()(features))


def test_scores_are_per_task_and_sum_to_one():
    scores = make_head(window=3).eval()(make_features(clips=1))
    assert [tuple(x.shape) for x in scores] == [(1, 5), (1, 7)]
    for x in scores:
        assert x.sum().item() == pytest.approx(1, abs=1e-6)


def test_training_gives_logits_and_eval_activates_them():
    head = make_head()
    features = make_features()
    logits = head.train()(features)
    for activated, x in zip(head.eval()(features), logits, strict=True):
        torch.testing.assert_close(activated, x.softmax(1))


def test_dropout_stands_before_the_linear_layers_of_all_tasks():
    head = make_head(dropout_rate=0.5).train()
    head.dropout.reseed(7)
    features = make_features()
    logits = head(features)
    head.dropout.reseed(7)
    dropped = head.dropout(head.pool(features))
    for x, projection in zip(logits, head.projections, strict=True):
        torch.testing.assert_close(x, projection(dropped).mean(1))

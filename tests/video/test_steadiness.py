"""Maps over time: averages, cuts, pauses, moving masks, spared calls, and going on from a state."""

import numpy as np
import pytest

from harmonyrt.common import HarmonyError
from harmonyrt.runtime.colour_maps import fit_maps, sum_colours
from harmonyrt.runtime.fit import Fitted
from harmonyrt.video.looking import Look
from harmonyrt.video.states import read_state, write_state
from harmonyrt.video.steadiness import Steadier
from harmonyrt.video.watching import ASKED_FIRST, LONGEST_SPARED, Watcher, check_steady, time_constant

SIZE = 64
RATE = 25.0


def scene(seed=0, level=0.5):
    rng = np.random.default_rng(seed)
    return np.kron(rng.uniform(level - 0.2, level + 0.2, (3, 8, 8)), np.ones((1, 8, 8))).astype(np.float32)


def view_of(image, left=20, width=24):
    mask = np.zeros((SIZE, SIZE), np.float32)
    mask[16:48, left : left + width] = 1
    thumbnail = np.concatenate([image, mask[None]]).reshape(4, 8, 8, 8, 8).mean((2, 4))
    histogram = np.bincount((image[1] * 31.9).astype(int).ravel(), minlength=32) / image[1].size
    return Look(image, Fitted(image, mask, mask), thumbnail, histogram)


def noisy(image, seed, sigma=0.03):
    return np.clip(image + np.random.default_rng(seed).normal(0, sigma, image.shape), 0, 1).astype(np.float32)


def darker(view, factor=0.8):
    return sum_colours(view.fitted, view.fitted.image * np.float32(factor))


class Flickering:
    """A network whose answer is off by a little every time."""

    def __init__(self, sigma=0.02):
        self.random, self.sigma, self.asked = np.random.default_rng(5), sigma, 0

    def __call__(self, view):
        self.asked += 1
        return darker(view, 0.8 + self.random.normal(0, self.sigma))


def played(views, answer=darker, steady=0.5, ahead=8):
    watcher = Watcher(answer, steady)
    seen = (watcher.watch(i, i / RATE, v) for i, v in enumerate(views))
    return list(Steadier(steady, ahead).steadied(seen)), watcher


def grey(maps, value=0.5):
    """What the maps make of a grey in the middle of the frame."""
    cell = tuple(side // 2 for side in maps.scale.shape[:2])
    colour = np.full(3, value * 255)
    return float(((colour @ maps.matrix) * maps.scale[cell] + maps.shift[cell]).mean())


def test_no_steadiness_is_the_answer_to_each_frame():
    views = [view_of(noisy(scene(), i)) for i in range(6)]
    result, watcher = played(views, steady=0.0)
    for each, view in zip(result, views, strict=True):
        alone = fit_maps(view.fitted, view.fitted.image * np.float32(0.8))
        assert np.abs(each.maps.scale - alone.scale).max() < 1e-3
        assert np.abs(each.maps.shift - alone.shift).max() < 0.1
    assert watcher.asked == 6


def test_flicker_is_at_most_a_quarter_and_the_mean_stays():
    views = [view_of(noisy(scene(), i)) for i in range(60)]
    alone = np.array([grey(e.maps) for e in played(views, Flickering(), steady=0.0)[0]])
    steady = np.array([grey(e.maps) for e in played(views, Flickering())[0]])
    assert alone.std() > 1
    assert steady.std() < alone.std() / 4
    assert np.abs(np.diff(steady)).max() < np.abs(np.diff(alone)).max() / 8
    assert steady.mean() == pytest.approx(alone.mean(), abs=0.5)


def test_a_still_shot_spares_the_network_and_a_moving_one_asks_for_every_second_frame():
    still = played([view_of(noisy(scene(), i, 0.005)) for i in range(60)])[1]
    assert ASKED_FIRST < still.asked <= ASKED_FIRST + 60 // LONGEST_SPARED + 1
    moves = [view_of(np.roll(scene(), 3 * i, 2)) for i in range(20)]
    assert played(moves)[1].asked == ASKED_FIRST + (20 - ASKED_FIRST) // 2
    assert played(moves, steady=0)[1].asked == 20


def test_a_cut_forgets_what_was_before():
    first = [view_of(noisy(scene(1, 0.3), i)) for i in range(20)]
    second = [view_of(noisy(scene(2, 0.65), i)) for i in range(20)]

    def answer(view):
        return darker(view, 0.6 if view.fitted.image.mean() > 0.5 else 1.1)

    result, watcher = played([*first, *second], answer)
    assert watcher.cuts == 1
    values = [grey(each.maps) for each in result]
    assert np.ptp(values[:20]) < 1
    assert np.ptp(values[20:]) < 1
    assert values[0] - values[-1] > 50


def test_a_change_of_light_without_a_cut_is_followed():
    factors = np.concatenate([np.full(20, 0.9), np.linspace(0.9, 0.6, 25), np.full(40, 0.6)])
    views = [view_of(np.roll(scene(), i, 2)) for i in range(len(factors))]
    factor_of = {id(view): factor for view, factor in zip(views, factors, strict=True)}
    values = np.array([grey(e.maps) for e in played(views, lambda view: darker(view, factor_of[id(view)]))[0]])
    assert values[5] == pytest.approx(0.9 * 127.5, abs=1)
    assert values[-1] == pytest.approx(0.6 * 127.5, abs=2)
    assert (np.diff(values) < 0.05).all()


def test_a_pause_in_the_mask_is_outlasted():
    image = scene()
    views = [view_of(noisy(image, i)) for i in range(12)]
    for index in (5, 6, 7):
        views[index] = view_of(noisy(image, index), width=0)
    result, _ = played(views, Flickering())
    assert [each.maps is None for each in result] == [5 <= i <= 7 for i in range(12)]
    assert abs(grey(result[8].maps) - grey(result[4].maps)) < 1


def test_what_belongs_to_a_place_moves_with_the_mask():
    """Half of the foreground is darkened, the other is not; it moves to the right."""
    image = noisy(np.full((3, SIZE, SIZE), 0.5), 0, 0.05)

    def answer(view):
        columns = np.flatnonzero(view.fitted.mask.any(0))
        output = view.fitted.image.copy()
        output[:, :, columns[0] : columns[0] + 12] *= 0.6
        return sum_colours(view.fitted, output)

    result, _ = played([view_of(image, 4 + i) for i in range(30)], answer)
    maps, left = result[-1].maps, 4 + 29
    turned = np.full(3, 127.5) @ maps.matrix
    line = (maps.scale[SIZE // 2] * turned + maps.shift[SIZE // 2]).mean(-1)
    assert line[left + 3] < 0.6 * 127.5 + 8
    assert line[left + 20] > 127.5 - 8


def test_going_on_from_a_state_is_as_if_there_had_been_no_break(tmp_path):
    views = [view_of(noisy(np.roll(scene(), i // 3, 2), i, 0.01), 10 + i // 2) for i in range(30)]
    whole, _ = played(views)
    write_state(tmp_path / "state.npz", whole[11].state)
    state = read_state(tmp_path / "state.npz")
    watcher, steadier = state.watcher, state.steadier
    watcher.answer = darker
    rest = steadier.steadied(watcher.watch(i, i / RATE, views[i]) for i in range(12, 30))
    for one, other in zip(whole[12:], rest, strict=True):
        assert np.array_equal(one.maps.scale, other.maps.scale)
        assert np.array_equal(one.maps.shift, other.maps.shift)


def test_time_not_frames_is_what_counts():
    """After a step in the answer, half a second later most of it is there, whatever the rate."""

    def after_half_a_second(rate):
        before, after = rate // 2, rate // 2
        factors = [0.9] * before + [0.7] * (after + 1)
        views = [view_of(np.roll(scene(), 5 * i, 2)) for i in range(len(factors))]
        factor_of = {id(view): factor for view, factor in zip(views, factors, strict=True)}
        watcher = Watcher(lambda view: darker(view, factor_of[id(view)]), 0.5)
        seen = [watcher.watch(i, i / rate, v) for i, v in enumerate(views)]
        return grey(list(Steadier(0.5, 0).steadied(seen))[-1].maps) / 127.5

    step = 0.2 * np.exp(-0.5 / time_constant(0.5)) / (1 + np.exp(-0.5 / time_constant(0.5)))
    for rate in (12, 24, 60):
        assert after_half_a_second(rate) == pytest.approx(0.7 + step, abs=0.02)


@pytest.mark.parametrize("given", [-0.1, 1.1, True, "much"])
def test_other_steadiness_is_refused(given):
    with pytest.raises(HarmonyError, match=r"give 0 .* to 1"):
        check_steady(given)

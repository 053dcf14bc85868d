"""Parameters of the open inference protocol, which `/v2` and Triton's Python backend read alike."""

import pytest

from harmonyrt.common import HarmonyError
from harmonyrt.serving.parameters import read_parameters


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"strenght": 1}, "give some of strength, keep, fit_mask$"),
        ({"seed": 1}, "parameter 'seed'"),
        ({"strength": 2}, "the strength is 2"),
        ({"strength": "much"}, "strength is much; give a number"),
        ({"strength": True}, "strength is True; give a number"),
        ({"strength": "nan"}, "strength is nan"),
        ({"keep": "all"}, "keep"),
        ({"fit_mask": "maybe"}, "fit_mask is maybe; give true or false"),
        ({"fit_mask": 1}, "fit_mask is 1; give true or false"),
        ({"fit_mask": None}, "fit_mask is None; give true or false"),
    ],
)
def test_parameters_that_cannot_be_are_refused(given, sentence):
    with pytest.raises(HarmonyError, match=sentence):
        read_parameters(given, diffusion=False)


def test_parameters_of_diffharmony():
    options = read_parameters({"seed": "3", "steps": 2, "strength": 1, "fit_mask": "true"}, diffusion=True)
    assert (options["options"].seed, options["options"].steps, options["fit_mask"]) == (3, 2, True)
    assert "options" not in read_parameters({}, diffusion=True)
    for given in ({"steps": 0}, {"seed": -1}, {"seed": 1.5}):
        with pytest.raises(HarmonyError, match="give a whole number"):
            read_parameters(given, diffusion=True)

"""AL-RNN against a transcription of its equations, and on a series it can learn."""

import numpy as np
import pytest
import torch

from lemode.baselines import AlmostLinearRNN

T = 0.2 * np.arange(400)
WAVE = np.stack([np.sin(T), 2 + 0.5 * np.cos(T)], -1)
SMALL = {"units": 6, "rectified": 2, "window": 30, "interval": 7, "batch_size": 8, "lr": 1e-2}


def transcription(w, x, steps, P):
    """Read the normalised history ``(T, D)``, the data set at each sample; then run free."""
    a, W, h, L = (w[k].numpy() for k in ("a", "W", "h", "L"))
    D = x.shape[1]
    z, out = np.concatenate([x[0], x[0] @ L]), []
    for k in range(len(x) + steps - 1):
        if k < len(x):
            z[:D] = x[k]
        phi = np.array([v if i < len(z) - P else max(v, 0) for i, v in enumerate(z)])
        z = a * z + W @ phi + h
        out.append(z[:D].copy())
    return np.array(out)


def test_predictions_and_free_runs_are_those_of_the_equations():
    model = AlmostLinearRNN(**SMALL, steps=10).fit(WAVE)
    normalised = (WAVE - model.mean_) / model.std_
    expected = transcription(model.weights_, normalised[:50], 20, 2) * model.std_ + model.mean_
    # rounding of sums of six terms
    np.testing.assert_allclose(model.predict(WAVE[:50]), expected[:50], rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(model.forecast(WAVE[:50], 20), expected[49:], rtol=1e-12, atol=1e-12)


def test_a_rotation_is_learned_and_the_seed_is_the_fit():
    first, again, other = (AlmostLinearRNN(**SMALL, steps=2, seed=s).fit(WAVE).forecast(WAVE, 9) for s in (0, 0, 1))
    np.testing.assert_array_equal(again, first)
    assert np.abs(other - first).max() > 1e-6
    model = AlmostLinearRNN(**{**SMALL, "window": 12, "lr": 3e-2}, steps=120).fit(WAVE[:300])
    free = model.forecast(WAVE[:300], 60)  # two periods
    # 0.10 to 0.14 of four seeds; the mean of the data would score 1
    assert np.sqrt((((free - WAVE[300:360]) / model.std_) ** 2).mean()) < 0.3


def test_the_data_are_set_every_so_many_samples_and_not_more_often(monkeypatch):
    """Seen from the states that the step is given: those that are set hold the truth, exactly."""
    seen, step = [], AlmostLinearRNN._step

    def watched(self, z):
        seen.append(z.detach().clone())
        return step(self, z)

    monkeypatch.setattr(AlmostLinearRNN, "_step", watched)
    model = AlmostLinearRNN(**SMALL, steps=1).fit(WAVE)
    data = torch.from_numpy((WAVE - model.mean_) / model.std_)
    assert len(seen) == 29
    on_data = [bool((z[:, None, :2] == data).all(-1).any(1).all()) for z in seen]
    assert [k for k, on in enumerate(on_data) if on] == [0, 7, 14, 21, 28]


def test_errors():
    with pytest.raises(ValueError, match="units=3: 2 are the data and 2 rectified; give 4 or more"):
        AlmostLinearRNN(units=3, rectified=2, window=20).fit(WAVE)
    with pytest.raises(ValueError, match="window=500: the series have 400 samples; give 2 to 400"):
        AlmostLinearRNN(**{**SMALL, "window": 500}).fit(WAVE)
    with pytest.raises(ValueError, match="interval=0"):
        AlmostLinearRNN(**{**SMALL, "interval": 0}).fit(WAVE)

import pytest
import torch

from ate_core.errors import CheckpointError
from ate_policy.models.flow_policy import FlowPolicy, FlowPolicyConfig, velocity
from ate_policy.models.interface import Inputs

CAMERAS = ("cam_high", "cam_left_wrist", "cam_right_wrist")


def parameters(model):
    return sum(p.numel() for p in model.parameters())


def test_the_variants_have_the_size_they_were_measured_with():
    assert parameters(FlowPolicy(FlowPolicyConfig(objects=2))) / 1e6 == pytest.approx(
        0.59, abs=0.03
    )
    assert parameters(FlowPolicy(FlowPolicyConfig(cameras=CAMERAS))) / 1e6 == pytest.approx(
        1.0, abs=0.1
    )


def test_the_velocity_leads_to_the_predicted_chunk():
    generator = torch.Generator().manual_seed(0)
    a_hat, x = torch.randn(2, 8, 20, 16, generator=generator)
    tau = torch.linspace(0.0, 0.9, 8)
    v = velocity(a_hat, x, tau)
    torch.testing.assert_close(x + (1.0 - tau)[:, None, None] * v, a_hat)


def test_the_velocity_is_finite_at_the_clean_end():
    x = torch.ones(1, 2, 2)
    assert velocity(x + 1.0, x, torch.ones(1)).abs().max() == pytest.approx(20.0)


def test_euler_steps_end_at_the_prediction_of_a_perfect_network():
    model = FlowPolicy(FlowPolicyConfig(horizon=4, action_size=2, state_size=2))
    target = torch.arange(8.0).view(1, 4, 2)
    model._denoise = lambda x, tau, condition: target.expand_as(x)
    noise = torch.randn(3, 4, 2, generator=torch.Generator().manual_seed(1))
    chunks = model.sample(Inputs(state=torch.zeros(3, 2)), noise)
    torch.testing.assert_close(chunks, target.expand(3, 4, 2))


def test_all_cameras_change_the_condition():
    torch.manual_seed(0)
    model = FlowPolicy(FlowPolicyConfig(cameras=CAMERAS, image_height=24, image_width=32)).eval()
    images = torch.rand(1, 3, 3, 24, 32, generator=torch.Generator().manual_seed(0)) - 0.5
    before = model.condition(Inputs(state=torch.zeros(1, 16), images=images))
    for camera in range(3):
        changed = images.clone()
        changed[:, camera] *= -1.0
        after = model.condition(Inputs(state=torch.zeros(1, 16), images=changed))
        assert not torch.allclose(after, before)


def test_sizes_that_cannot_be_built_are_refused():
    with pytest.raises(CheckpointError, match="horizon is 0"):
        FlowPolicyConfig(horizon=0)

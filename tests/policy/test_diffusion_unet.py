import pytest
import torch

from ate_policy.models.image_encoder import spatial_soft_argmax
from ate_policy.models.resnet import CameraEncoder, ResNetEncoder
from ate_policy.models.unet1d import Film, UNet1d


def parameters(module):
    return sum(p.numel() for p in module.parameters())


def fill(model):
    """Weights that a formula gives, so that numbers of other code can be compared."""
    for index, weight in enumerate(model.parameters()):
        wave = torch.arange(weight.numel(), dtype=torch.float32) * 0.7 + index
        weight.data = 0.3 * torch.sin(wave).view_as(weight)


def small_unet(levels=3):
    torch.manual_seed(0)
    return UNet1d(size=2, condition=4, channels=(8, 16, 24)[:levels], kernel=5, step_size=8)


def with_random_film(model):
    """The same network, trained far enough that its condition matters."""
    for module in model.modules():
        if isinstance(module, Film):
            torch.nn.init.normal_(module.linear.weight, std=0.2)
    return model


def test_an_untrained_film_passes_its_input_on():
    hidden = torch.randn(2, 8, 5, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(Film(3, 8)(hidden, torch.ones(2, 3)), hidden)


def test_film_scales_and_shifts_each_channel_by_the_condition():
    """One channel, condition 2, mish(2) = 1.943959: (1 + 0.5 mish) 3 + 2 mish."""
    film = Film(1, 1)
    film.linear.weight.data = torch.tensor([[0.5], [2.0]])
    hidden = torch.full((1, 1, 1), 3.0)
    assert film(hidden, torch.tensor([[2.0]])).item() == pytest.approx(9.803856, abs=1e-5)


@pytest.mark.parametrize("horizon", [1, 8, 14, 20, 50])
@pytest.mark.parametrize("levels", [1, 3])
def test_every_horizon_comes_back_with_its_length(horizon, levels):
    model = small_unet(levels)
    chunk = torch.zeros(2, horizon, 2)
    assert model(chunk, torch.tensor([3, 50]), torch.zeros(2, 4)).shape == chunk.shape


@pytest.mark.parametrize("horizon", [8, 14])
def test_the_prediction_depends_on_every_tick_the_step_and_the_condition(horizon):
    model = with_random_film(small_unet())
    generator = torch.Generator().manual_seed(1)
    noisy = torch.randn(1, horizon, 2, generator=generator, requires_grad=True)
    condition = torch.randn(1, 4, generator=generator, requires_grad=True)
    step = torch.tensor([20])
    out = model(noisy, step, condition)
    for tick in range(horizon):  # each predicted tick sees its own noisy one
        gradient = torch.autograd.grad(out[0, tick].sum(), noisy, retain_graph=True)[0]
        assert gradient[0, tick].abs().min() > 1e-4
    out.sum().backward()
    assert noisy.grad.abs().amin() > 0.0
    assert condition.grad.abs().amin() > 0.0
    assert not torch.allclose(model(noisy, torch.tensor([60]), condition), out, atol=1e-3)


def test_the_unet_computes_what_the_published_code_computes():
    """Numbers of real-stanford/diffusion_policy's ConditionalUnet1D with the same weights.

    Its FiLM multiplies by gamma, ours by 1 + gamma: its bias was one larger.
    """
    model = UNet1d(size=3, condition=4, channels=(8, 16), kernel=3, step_size=8)
    fill(model)
    condition = torch.tensor([[0.5, -0.5, 0.2, 0.1]])
    with torch.no_grad():
        out = model(torch.linspace(-1.0, 1.0, 12).view(1, 4, 3), torch.tensor([7]), condition)
    expected = [
        [-0.177540, -0.079380, 0.059164],
        [-0.180503, -0.031899, 0.135777],
        [-0.158497, 0.025077, 0.202147],
        [-0.178374, -0.045158, 0.113081],
    ]
    torch.testing.assert_close(out[0], torch.tensor(expected), rtol=0.0, atol=2e-6)


def test_the_published_unet_has_the_published_size():
    """256 M (2 x 64 image and 9 state features, two observations) in the paper's appendix."""
    with torch.device("meta"):
        unet = UNet1d(10, 2 * (2 * 64 + 9), (512, 1024, 2048), 5, 128)
    assert parameters(unet) / 1e6 == pytest.approx(256, abs=1)


def test_the_image_encoder_has_the_size_of_a_resnet_18_without_its_classifier():
    """11.18 M, and 18 496 + 16 416 of keypoints and features: 22 M for two cameras, published."""
    with torch.device("meta"):
        encoder = CameraEncoder()
    assert parameters(encoder.trunk) == 11_176_512
    assert parameters(encoder) - parameters(encoder.trunk) == 512 * 32 + 32 + 64 * 64 + 64


def test_each_camera_has_its_own_features():
    torch.manual_seed(0)
    encoder = ResNetEncoder(2).eval()
    images = torch.rand(1, 2, 3, 48, 64, generator=torch.Generator().manual_seed(2)) - 0.5
    with torch.no_grad():
        before = encoder(images)
        images[:, 1] *= -1.0
        changed = (encoder(images) - before).abs()[0]
    assert changed[:64].max() == 0.0
    assert changed[64:].min() >= 0.0 and changed[64:].max() > 1e-4


def test_soft_argmax_finds_the_peak():
    maps = torch.zeros(1, 1, 3, 5)
    maps[0, 0, 0, 3] = 50.0  # top row, second column from the right
    torch.testing.assert_close(spatial_soft_argmax(maps), torch.tensor([[0.5, -1.0]]))

"""The published Diffusion Policy becomes ours: a network of its names is written out here."""

import json
import shlex
from itertools import pairwise

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from ate_bringup import cli
from ate_core.errors import CheckpointError, UsageError
from ate_core.trained_for import FINE_TUNE_FIRST
from ate_policy.checkpoint import load_checkpoint
from ate_policy.first_look import compare_training
from ate_policy.loading import restore_model
from ate_policy.models.interface import Inputs
from ate_policy.policy import load_policy
from ate_policy.transforms import ChunkTransform
from training.configs.import_dp import ImportDpConfig
from training.import_dp import CONVERT, import_dp

STEP, DIMS, ACTIONS, TICKS = 8, (16, 24), 16, 2
CAMERAS = ("camera_1", "camera_0")
MAPPED = ("cam_left_wrist", "cam_high")


class Residual(nn.Module):
    """FiLM-conditioned block of the published network."""

    def __init__(self, before, after, condition, scaled):
        super().__init__()

        def conv(width):
            block = nn.Module()
            block.block = nn.Sequential(
                nn.Conv1d(width, after, 5, padding=2), nn.GroupNorm(8, after), nn.Mish()
            )
            return block

        self.blocks = nn.ModuleList([conv(before), conv(after)])
        out = after * 2 if scaled else after
        self.cond_encoder = nn.Sequential(nn.Mish(), nn.Linear(condition, out))
        self.residual_conv = nn.Conv1d(before, after, 1) if before != after else nn.Identity()

    def forward(self, x, condition):
        out = self.blocks[0].block(x)
        shift = self.cond_encoder(condition)[..., None]
        if shift.shape[1] > out.shape[1]:
            scale, shift = shift.chunk(2, dim=1)
            out = scale * out
        return self.blocks[1].block(out + shift) + self.residual_conv(x)


class Resample(nn.Module):
    def __init__(self, conv):
        super().__init__()
        self.conv = conv


class PublishedUnet(nn.Module):
    def __init__(self, condition, scaled):
        super().__init__()
        seen, (low, high) = STEP + condition, DIMS
        self.diffusion_step_encoder = nn.Sequential(
            nn.Identity(), nn.Linear(STEP, 4 * STEP), nn.Mish(), nn.Linear(4 * STEP, STEP)
        )

        def pair(before, after, last):
            first, second = (Residual(one, after, seen, scaled) for one in (before, after))
            return nn.ModuleList([first, second, last])

        self.down_modules = nn.ModuleList(
            [
                pair(ACTIONS, low, Resample(nn.Conv1d(low, low, 3, 2, 1))),
                pair(low, high, nn.Identity()),
            ]
        )
        self.mid_modules = nn.ModuleList(Residual(high, high, seen, scaled) for _ in range(2))
        self.up_modules = nn.ModuleList(
            [pair(2 * high, low, Resample(nn.ConvTranspose1d(low, low, 4, 2, 1)))]
        )
        leave = nn.Module()
        leave.block = nn.Sequential(
            nn.Conv1d(low, low, 5, padding=2), nn.GroupNorm(8, low), nn.Mish()
        )
        self.final_conv = nn.Sequential(leave, nn.Conv1d(low, ACTIONS, 1))

    def forward(self, chunk, step, condition):
        angle = step[:, None] * torch.exp(
            -torch.arange(STEP // 2) * torch.log(torch.tensor(10000.0)) / (STEP // 2 - 1)
        )
        embedded = self.diffusion_step_encoder(torch.cat([angle.sin(), angle.cos()], dim=1))
        seen = torch.cat([embedded, condition], dim=1)
        (a, b, shrink), (c, d, _) = self.down_modules
        skip = b(a(chunk.mT, seen), seen)
        x = bottom = d(c(shrink.conv(skip), seen), seen)
        for middle in self.mid_modules:
            x = middle(x, seen)
        ((e, f, grow),) = self.up_modules
        x = grow.conv(f(e(torch.cat([x, bottom], dim=1), seen), seen))
        return self.final_conv[1](self.final_conv[0].block(x)).mT


class Core(nn.Module):
    """robomimic's VisualCore: ResNet-18 with GroupNorm, keypoints, a linear map."""

    def __init__(self):
        super().__init__()

        def norm(width):
            return nn.GroupNorm(width // 16, width)

        def block(before, after, stride):
            made = nn.Module()
            made.conv1 = nn.Conv2d(before, after, 3, stride, 1, bias=False)
            made.bn1, made.bn2 = norm(after), norm(after)
            made.conv2 = nn.Conv2d(after, after, 3, 1, 1, bias=False)
            if stride != 1:
                made.downsample = nn.Sequential(
                    nn.Conv2d(before, after, 1, stride, bias=False), norm(after)
                )
            return made

        layers = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), norm(64), nn.ReLU()]
        layers.append(nn.MaxPool2d(3, 2, 1))
        widths = (64, 64, 128, 256, 512)
        for index, (before, after) in enumerate(pairwise(widths)):
            stride = 1 if index == 0 else 2
            layers.append(nn.Sequential(block(before, after, stride), block(after, after, 1)))
        self.backbone, self.pool = nn.Module(), nn.Module()
        self.backbone.nets = nn.Sequential(*layers)
        self.pool.nets = nn.Conv2d(512, 32, 1)
        self.pool.register_buffer("temperature", torch.ones(1))
        self.nets = nn.Sequential(self.backbone, self.pool, nn.Flatten(), nn.Linear(64, 64))

    def forward(self, x):
        for layer in self.backbone.nets[:4]:
            x = layer(x)
        for layer in self.backbone.nets[4:]:
            for one in layer:
                inner = one.bn2(one.conv2(torch.relu(one.bn1(one.conv1(x)))))
                x = torch.relu(inner + (one.downsample(x) if hasattr(one, "downsample") else x))
        maps = self.pool.nets(x)
        height, width = maps.shape[-2:]
        weight = maps.flatten(2).softmax(-1).unflatten(2, (height, width))
        right = (weight.sum(2) * torch.linspace(-1, 1, width)).sum(-1)
        down = (weight.sum(3) * torch.linspace(-1, 1, height)).sum(-1)
        return self.nets[3](torch.stack([right, down], dim=-1).flatten(1))


def published(scaled=True):
    """Their policy with the weights of nothing at rest, and what it was described with."""
    torch.manual_seed(0)
    policy = nn.Module()
    policy.model = PublishedUnet(TICKS * (16 + 2 * 64), scaled)
    policy.obs_encoder = nn.Module()
    policy.obs_encoder.obs_nets = nn.ModuleDict({name: Core() for name in CAMERAS})
    for weight in policy.parameters():
        if weight.dim() == 1:
            nn.init.normal_(weight, mean=0.3, std=0.3)
    meta = {
        "obs": {
            "camera_1": {"type": "rgb", "shape": [3, 48, 64]},
            "joints": {"shape": [16]},
            "camera_0": {"type": "rgb", "shape": [3, 48, 64]},
        },
        "action": {"shape": [ACTIONS]},
    }
    told = {
        "_target_": "diffusion_policy.policy.x.DiffusionUnetHybridImagePolicy",
        "shape_meta": meta,
        "noise_scheduler": {
            "num_train_timesteps": 100,
            "beta_schedule": "squaredcos_cap_v2",
            "prediction_type": "epsilon",
        },
        "horizon": 8,
        "n_obs_steps": TICKS,
        "num_inference_steps": 8,
        "obs_as_global_cond": True,
        "obs_encoder_group_norm": True,
        "crop_shape": [48, 64],
        "diffusion_step_embed_dim": STEP,
        "down_dims": list(DIMS),
        "kernel_size": 5,
    }
    return policy.eval(), told


@pytest.fixture
def folder(tmp_path):
    """A function that writes a converted policy."""

    def write(policy, told):
        held = {name: value.clone() for name, value in policy.state_dict().items()}
        for name in ("action", "joints"):
            start = f"normalizer.params_dict.{name}."
            held |= {f"{start}scale": torch.full((16,), 2.0)}
            held |= {f"{start}offset": torch.full((16,), -0.5)}
            held |= {f"{start}input_stats.min": torch.full((16,), -0.25)}
            held |= {f"{start}input_stats.max": torch.full((16,), 0.75)}
        source = tmp_path / "converted"
        source.mkdir(exist_ok=True)
        save_file(held, source / "model.safetensors")
        (source / "policy.json").write_text(json.dumps(told))
        return source

    return write


@pytest.mark.parametrize("scaled", [True, False])
def test_an_imported_policy_computes_what_the_published_one_does(tmp_path, folder, cell, scaled):
    """Where the present observation stands for both ticks."""
    policy, told = published(scaled)
    config = ImportDpConfig(source=folder(policy, told), output=tmp_path / "dp", cameras=MAPPED)
    assert import_dp(config) == 0
    stored = load_checkpoint(config.output, cell, kind="diffusion")
    model = restore_model(stored)
    generator = torch.Generator().manual_seed(1)
    state, noisy = (torch.randn(2, *size, generator=generator) for size in ((16,), (8, 16)))
    images = torch.rand(2, 2, 3, 48, 64, generator=generator) - 0.5
    step = torch.tensor([3, 90])
    with torch.no_grad():
        left, high = (
            policy.obs_encoder.obs_nets[name](2.0 * images[:, index]).relu()
            for index, name in enumerate(CAMERAS)
        )
        seen = torch.cat([left, state, high] * TICKS, dim=1)
        expected = policy.model(noisy, step.float(), seen)
        out = model(noisy, step, Inputs(state=state, images=images))
    assert expected.std() > 0.05
    torch.testing.assert_close(out, expected, rtol=1e-5, atol=1e-5)
    robot = torch.full((1, 8, 16), 0.75)
    coded = ChunkTransform(stored.statistics).encode_chunk(robot, torch.zeros(1, 16))
    torch.testing.assert_close(coded, torch.ones_like(coded))  # its largest value


def test_the_command_that_an_import_prints_trains(tmp_path, folder, write_demonstrations, capsys):
    words = [str(folder(*published())), "--output", str(tmp_path / "dp"), "--cameras", *MAPPED]
    assert cli.main(["import-dp", *words]) == 0
    printed = next(
        line for line in capsys.readouterr().out.splitlines() if line.startswith("  ate ")
    )
    command = shlex.split(printed)[1:]
    episodes = write_demonstrations(tmp_path / "episodes", count=2, ticks=10, images=True)
    command[command.index("runs/episodes")] = str(episodes)
    command[command.index("runs/diffusion")] = str(tmp_path / "run")
    assert cli.main([*command, "--steps", "1", "--optim.batch", "4"]) == 0
    tuned = load_checkpoint(tmp_path / "run")
    assert tuned.model["cameras"] == list(MAPPED) and FINE_TUNE_FIRST not in tuned.training


def test_an_import_says_why_it_must_be_fine_tuned_first(tmp_path, folder, cell, capsys):
    source = folder(*published())
    held = load_file(source / "model.safetensors")
    held["normalizer.params_dict.joints.scale"][2] = 1e4  # moved through 0.2 mrad
    save_file(held, source / "model.safetensors")
    import_dp(ImportDpConfig(source=source, output=tmp_path / "dp", cameras=MAPPED))
    said = capsys.readouterr().out
    assert "runs only after fine-tuning: its chunks begin 1 ticks before the present" in said
    assert "runs only after fine-tuning: its images were cropped" in said
    assert "state left_arm_3 rested in pre-training (deviation 0.0001 rad)" in said
    with pytest.raises(CheckpointError, match=r"left_arm_3 rested .*: fine-tune them on episodes"):
        compare_training(load_policy(tmp_path / "dp"), cell, "")


def test_what_is_no_such_policy_is_refused_with_the_remedy(tmp_path, folder):
    policy, told = published()
    source = folder(policy, told)
    config = ImportDpConfig(source=source, output=tmp_path / "dp", cameras=MAPPED)
    with pytest.raises(UsageError, match="sees camera_1, camera_0: give --cameras"):
        import_dp(ImportDpConfig(source=source, output=tmp_path / "dp"))
    (tmp_path / "latest.ckpt").write_bytes(b"\x80")
    with pytest.raises(CheckpointError, match="pickle that runs code") as error:
        import_dp(ImportDpConfig(source=tmp_path / "latest.ckpt", output=tmp_path / "dp"))
    assert CONVERT in str(error.value) and "\n" not in str(error.value)
    for change, words in (
        ({"_target_": "a.DiffusionTransformerLowdimPolicy"}, "policy is DiffusionTransformer"),
        ({"obs_as_global_cond": False}, "obs_as_global_cond is False, only True"),
        ({"n_obs_steps": 3}, "reads 288 numbers of the observation, .* 3 times 144"),
        ({"shape_meta": {**told["shape_meta"], "action": {"shape": [7]}}}, "action of 7 numbers"),
    ):
        folder(policy, {**told, **change})
        with pytest.raises(CheckpointError, match=words):
            import_dp(config)


def without(told, *path):
    """A description without one entry."""
    whole = json.loads(json.dumps(told))
    *outer, last = path
    inner = whole
    for name in outer:
        inner = inner[name]
    del inner[last]
    return whole


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"horizon": "8"}, r"horizon is '8', must be a whole number above 0: a \.ckpt"),
        ({"horizon": None}, "horizon is None, must be a whole number"),
        ({"down_dims": ["a"]}, "down_dims is .*, must be a list of whole numbers above 0"),
        ({"crop_shape": "48"}, "crop_shape is '48', must be a list of 2 whole numbers"),
        ({"noise_scheduler": []}, r"noise_scheduler is \[\], must be an object"),
        ({"shape_meta": {"obs": [], "action": {"shape": [16]}}}, r"shape_meta\.obs is \[\], must"),
        (
            {"shape_meta": {"obs": {"a": {"shape": [16.5]}}, "action": {"shape": [16]}}},
            r"shape_meta\.obs\.a\.shape is \[16\.5\], must be a list of whole",
        ),
        ({"shape_meta": {"obs": {"a": 3}, "action": {"shape": [16]}}}, r"obs\.a is 3, must be an"),
        ({"_target_": 3}, "_target_ is 3, must be a text"),
        ({"obs_as_global_cond": "yes"}, "obs_as_global_cond is 'yes', must be true or false"),
        (("noise_scheduler", "num_train_timesteps"), "num_train_timesteps is None, must be"),
        (("noise_scheduler", "prediction_type"), "prediction_type is None, must be one of"),
        (("shape_meta", "action"), "does not describe a policy"),
        (("shape_meta", "obs"), "obs, .* is None"),
        (("shape_meta", "obs", "joints", "shape"), r"joints\.shape is None, must be that of"),
        (("down_dims",), "down_dims is None, must be a list"),
    ],
)
def test_an_entry_of_another_kind_is_refused_by_name(tmp_path, folder, change, words):
    policy, told = published()
    changed = {**told, **change} if isinstance(change, dict) else without(told, *change)
    config = ImportDpConfig(source=folder(policy, changed), output=tmp_path / "dp", cameras=MAPPED)
    with pytest.raises(CheckpointError, match=words) as caught:
        import_dp(config)
    assert "policy.json" in str(caught.value) and "\n" not in str(caught.value)

"""Every command that draws refuses seeds that some generator does not take."""

from pathlib import Path

import pytest

from ate_bringup.demo import DemoConfig, demo
from ate_core.errors import UsageError
from ate_policy.models.flow_policy import FlowOptions
from training.configs.align_video import AlignVideoConfig
from training.configs.finetune import FinetuneConfig
from training.configs.import_vae import ImportVaeConfig
from training.configs.latent_report import LatentReportConfig
from training.configs.token_report import TokenReportConfig
from training.configs.train_tokens import TrainTokensConfig
from training.configs.train_vae import TrainVaeConfig

HERE = Path("somewhere")
COMMANDS = {
    "align-video": lambda **s: AlignVideoConfig(output=HERE, tokens=HERE, episodes=(HERE,), **s),
    "demo": lambda **s: demo(DemoConfig(output=HERE, **s)),
    "finetune": lambda **s: FinetuneConfig(episodes=HERE, output=HERE, policy=FlowOptions(), **s),
    "import-vae": lambda **s: ImportVaeConfig(source=HERE, output=HERE, **s),
    "latent-report": lambda **s: LatentReportConfig(vae=HERE, output=Path("a.html"), **s),
    "token-report": lambda **s: TokenReportConfig(tokens=(HERE,), output=Path("a.html"), **s),
    "train-tokens": lambda **s: TrainTokensConfig(episodes=(HERE,), output=HERE, **s),
    "train-vae": lambda **s: TrainVaeConfig(stage=1, output=HERE, motions=2, **s),
}


@pytest.mark.parametrize("seed", [-1, 2**32])
@pytest.mark.parametrize("name", COMMANDS)
def test_a_seed_that_some_generator_does_not_take_is_refused(name, seed):
    with pytest.raises(UsageError, match=f"seed is {seed}, must be 0 to 4294967295"):
        COMMANDS[name](seed=seed)

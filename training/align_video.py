"""`ate align-video`: what happened between two frames, as codes of the action tokens."""

from dataclasses import dataclass

import torch
from accelerate import Accelerator
from torch import Tensor

from ate_policy.token_folder import StoredTokens, load_tokens
from training.clap.align_card import describe
from training.clap.align_objective import References, contrast_of, distance_of, video_loss
from training.clap.align_recipe import AlignRecipe, align_recipe_of
from training.clap.features import FrameEncoder, fit_features, to_unit
from training.clap.frame_changes import FrameChanges
from training.clap.restart import restart_codes
from training.clap.teacher import Teacher
from training.clap.vd_config import VdVaeConfig
from training.clap.vd_vae import VdVae, VideoOutputs
from training.clap.video_data import AlignmentData, Windows, load_alignment_data
from training.clap.video_only import frames_at
from training.configs.align_video import AlignVideoConfig
from training.data.digests import spread
from training.data.micro_batch import MicroBatch
from training.loop.memory import explain_memory, memory_estimate
from training.loop.optimisation import Special, apply_gradients, cosine_rate, make_optimizer
from training.loop.processes import (
    agree,
    autocast,
    gather_rows,
    leave,
    make_accelerator,
    mean_metrics,
    micro_batches,
)
from training.loop.progress import Progress
from training.loop.run_folder import RunFolder, pack_state, unpack_state

FINAL_SHARE = 0.1
"""Of the learning rate, at the last step."""
SPACE_CHUNKS = 20_000
"""Chunks behind the mean and the main directions of the tokens' latents."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Batch:
    """Windows of one process: the robot's with their motion, and those of clips."""

    before: Tensor
    """(B, 3, h, w) frame t in [0, 1]."""
    after: Tensor
    """(B, 3, h, w) frame t + H."""
    drawn: Tensor
    """(B, 16) how they are changed."""
    chunks: Tensor
    """(B, A, H, D); zeros for clips, whose motion nobody knows."""
    idle: Tensor
    """(B, A); no for clips."""
    is_robot: Tensor
    """(B,)."""
    episode: Tensor
    """(B,) number of the episode, over robot and clips."""


@explain_memory("use --precision bf16, a smaller --batch, or fewer layers")
def align_video(config: AlignVideoConfig) -> int:
    """Align video with action tokens and write a run folder of checkpoints.

    Returns:
        0 when done, 130 when stopped by a signal (the run can be resumed).
    """
    torch.set_num_threads(config.threads)
    accelerator = make_accelerator()
    device, recipe = accelerator.device, align_recipe_of(config)
    tokens = load_tokens(config.tokens)
    run = RunFolder.of(config, main=accelerator.is_main_process)
    run.require_same(
        "tokens.sha256",
        tokens.identity.sha256,
        f"--tokens {config.tokens}",
        "give the former ones",
    )

    # data
    data = load_alignment_data(config, tokens)
    run.require_same_data(data.sha256())
    features = fit_features(config.features, data.robot.few_frames)

    # model
    generator = torch.Generator().manual_seed(config.seed)
    model = initial_model(config, recipe, tokens, data.robot).to(device)
    teacher = Teacher(model.encoder, recipe.teacher_rate, warmup=recipe.teacher_warmup)
    tokens.model.to(device)
    accelerator.print(memory_estimate(model, average=True))
    special = [Special(module=part, multiplier=1.0) for part in (model.env_book, model.contrast)]
    optimizer = make_optimizer(model, config.learning_rate, config.weight_decay, special=special)
    network, _ = accelerator.prepare(model, optimizer)

    # loop
    step, steps, stopped = 0, config.steps, False
    if config.resume:
        state = run.load_state()
        step = unpack_state(state, model, optimizer, {"data": generator}, teacher.weights)
    changes = FrameChanges(recipe.augmentation)
    (share,) = micro_batches(accelerator, batch_size(config, data), 1)
    with Progress(run, "video", step=step, steps=steps, log_every=config.log_every) as progress:
        while step < steps and not stopped:
            batch = draw_batch(config, data, changes, share, generator, tokens, device)
            seen, clean = frame_features(features, changes, batch)
            decoded = clean if recipe.target == "clean" else seen
            with autocast(config.precision, device):
                outputs = network(*seen, decoded[0])
            references = references_of(batch, clean, tokens, teacher, recipe)
            contrast, cosines = contrast_of(
                model,
                gathered(accelerator, outputs),
                gathered_references(accelerator, references),
                recipe,
            )
            away = distance_of(model, outputs, references) if recipe.weight_distance else None
            loss, metrics = video_loss(outputs, decoded[1], contrast, recipe, away)
            if not torch.isfinite(loss):
                run.refuse_loss(step + 1, loss, {"before": batch.before, "after": batch.after})
            accelerator.backward(loss)
            apply_gradients(optimizer, model, rate_of(config, step))
            teacher.follow(model.encoder, step)
            step += 1
            model.env_book.count(accelerator.gather(outputs.codes_i))
            used = (model.env_book.usage > 0).float().mean()  # since the last restart
            if step % config.restart_every == 0:
                pool = accelerator.gather(outputs.z_i.detach()).flatten(0, 1).float()
                restart_codes(model.env_book, recipe.restart, pool, generator)
            if progress.is_due(step):
                logged = {"loss": loss, **metrics, **cosines, "env_codes_used": used}
                logged["action_codes_used"] = share_used(outputs, model)
                progress.log(step, mean_metrics(accelerator, [logged]))
            stopped = agree(accelerator, progress.signalled)
            if step % config.save_every == 0 or step == steps or stopped:
                state = pack_state(step, model, optimizer, {"data": generator}, teacher.weights)
                described = describe(config, recipe, data, tokens, features, model, step)
                run.save(step, described, state)
    leave(accelerator)
    return 0 if step >= steps else 130


def initial_model(
    config: AlignVideoConfig, recipe: AlignRecipe, tokens: StoredTokens, robot: Windows
) -> VdVae:
    """The network before its first step, with the tokens' codes."""
    torch.manual_seed(config.seed)
    assert robot.chunks is not None
    sizes = tokens.model.config
    model = VdVae(
        VdVaeConfig(
            arms=robot.chunks.shape[1],
            codes=sizes.codes,
            codebook=sizes.codebook,
            code_width=sizes.code_width,
            patches=config.features.patches,
            feature_size=config.features.size,
            columns=config.features.width // config.features.patch,
            axes=axes_of(config, recipe, tokens),
            network=config.network,
            env_codes=config.env_codes,
            env_codebook=config.env_codebook,
            width=config.width,
            encoder_layers=config.encoder_layers,
            decoder_layers=config.decoder_layers,
            heads=config.heads,
            feedforward=config.feedforward,
            predicts=recipe.predicts,
        )
    )
    with torch.no_grad():
        model.action_book.codes.copy_(tokens.model.codebook.codes)
        if recipe.space != "raw":
            chunks = robot.chunks.flatten(0, 1)
            some = spread(chunks, SPACE_CHUNKS)
            model.space.fit(tokens.model.embed_chunks(some))
    return model


def axes_of(config: AlignVideoConfig, recipe: AlignRecipe, tokens: StoredTokens) -> int:
    """Main directions of the tokens' latents that are used; 0: all numbers as they are."""
    sizes = tokens.model.config
    return min(config.axes, sizes.codes * sizes.code_width) if recipe.space == "whitened" else 0


def batch_size(config: AlignVideoConfig, data: AlignmentData) -> int:
    """Windows of a step, over all processes."""
    return config.batch * (1 if data.video is None else 2)


def draw_batch(
    config: AlignVideoConfig,
    data: AlignmentData,
    changes: FrameChanges,
    share: MicroBatch,
    generator: torch.Generator,
    tokens: StoredTokens,
    device: torch.device,
) -> Batch:
    """This process's windows of a step."""
    horizon, robot, count = tokens.identity.horizon, data.robot, config.batch
    assert robot.chunks is not None and robot.idle is not None
    rows = robot.draw(count, generator)
    ticks, chunks, idle = robot.ticks[rows], robot.chunks[rows], robot.idle[rows]
    frames = [frames_at(robot.frames, at) for at in (ticks, ticks + horizon)]
    episode, is_robot = robot.episode[rows], torch.ones(count, dtype=torch.bool)
    if data.video is not None:
        rows = data.video.draw(count, generator)
        ticks = data.video.ticks[rows]
        for index, at in enumerate((ticks, ticks + horizon)):
            frames[index] = torch.cat([frames[index], frames_at(data.video.frames, at)])
        chunks = torch.cat([chunks, torch.zeros_like(chunks)])
        idle = torch.cat([idle, torch.zeros_like(idle)])
        is_robot = torch.cat([is_robot, torch.zeros_like(is_robot)])
        behind = int(data.tokens.episode[-1]) + 1
        episode = torch.cat([episode, data.video.episode[rows] + behind])
    drawn = changes.draw(len(episode), generator)
    return Batch(
        before=to_unit(share.of(frames[0])).to(device),
        after=to_unit(share.of(frames[1])).to(device),
        drawn=share.of(drawn).to(device),
        chunks=share.of(chunks).to(device),
        idle=share.of(idle).to(device),
        is_robot=share.of(is_robot).to(device),
        episode=share.of(episode).to(device),
    )


def frame_features(
    features: FrameEncoder, changes: FrameChanges, batch: Batch
) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Features of both frames as the encoder sees them, and of clean ones, (B, P, F) each."""
    pair = torch.stack([batch.before, batch.after], dim=1)
    changed = changes.apply(pair, batch.drawn)
    seen = features(changed[:, 0]), features(changed[:, 1])
    return seen, (features(batch.before), features(batch.after))


@torch.no_grad()
def references_of(
    batch: Batch,
    clean: tuple[Tensor, Tensor],
    tokens: StoredTokens,
    teacher: Teacher,
    recipe: AlignRecipe,
) -> References:
    """What each arm's latent is pulled to: that of its motion, or the averaged encoder's."""
    shape, robot = batch.chunks.shape[:2], batch.is_robot
    latents = tokens.model.embed_chunks(batch.chunks.flatten(0, 1)).unflatten(0, shape)
    by_teacher = recipe.video_positive == "teacher"
    if by_teacher and not robot.all():
        latents[~robot] = teacher.action_latent(clean[0][~robot], clean[1][~robot])
    return References(
        latents=latents,
        codes=tokens.model.codebook.nearest(latents),
        valid=(robot | by_teacher)[:, None].expand(shape).contiguous(),
        idle=batch.idle,
        episode=batch.episode,
    )


def gathered(accelerator: Accelerator, outputs: VideoOutputs) -> VideoOutputs:
    """With what the contrast compares of all processes."""
    return outputs._replace(
        z_a=gather_rows(accelerator, outputs.z_a), q_a=accelerator.gather(outputs.q_a)
    )


def gathered_references(accelerator: Accelerator, references: References) -> References:
    """Those of all processes, in the same order."""
    return References(**{name: accelerator.gather(one) for name, one in vars(references).items()})


def share_used(outputs: VideoOutputs, model: VdVae) -> Tensor:
    """Of the tokens' codes, in this batch: a latent that says nothing uses one."""
    return outputs.z_a.new_tensor(len(outputs.codes_a.unique()) / len(model.action_book.codes))


def rate_of(config: AlignVideoConfig, step: int) -> float:
    """The learning rate in a step."""
    peak, warmup = config.learning_rate, min(config.warmup, config.steps // 2)
    return cosine_rate(peak, step, config.steps, warmup=warmup, final=FINAL_SHARE * peak)

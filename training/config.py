"""A recipe: everything that decides a training run."""

from __future__ import annotations

from dataclasses import dataclass, field

from paragon_arch.errors import InvalidOptionError

LOSS_NAMES = (
    *("l1", "mse", "charbonnier", "bounded-charbonnier", "huber", "tv"),
    *("ms-ssim", "fft", "focal-frequency", "hsluv", "consistency"),
    *("vgg", "convnext", "dists", "lpips", "clip"),
)
"""What [losses] may name. The last line's need weights that are downloaded."""
SIZES = ("num_feat", "num_groups", "num_blocks")
"""Sizes of a network that [model] may change; every layout has them."""
INITS = ("default", "data")
SCHEDULES = ("cosine", "linear", "multistep", "constant")
CRITICS = ("munet-unet", "munet-4branch")
GAN_LOSSES = ("r3gan", "hinge", "vanilla", "lsgan", "wgan")


@dataclass(frozen=True)
class ModelConfig:
    """Which network to build, and how to start it."""

    layout: str = "v2-release"
    """A layout of docs/layouts.md."""
    variant: str = "realtime"
    """An official variant of that layout."""
    scale: int = 2
    alpha: float | None = None
    """Strength of the Magic pre-filter; the variant's own unless given. Layouts without one ignore it."""
    window_size: int | None = None
    """Side of the attention windows; the variant's own unless given. 0: blocks without attention."""
    num_feat: int | None = None
    """Feature channels; the variant's own unless given. Sizes that were never official are recognised as well."""
    num_groups: int | None = None
    """Groups of blocks; the variant's own unless given."""
    num_blocks: int | None = None
    """Blocks in each group; the variant's own unless given."""
    init: str = "default"
    """"default": the layout's own starting values. "data": the first batch sets them (see `training.network`)."""
    gamma: float = 0.5
    """Initial LayerScale with init = "data". The layout's 1e-5 wastes thousands of steps of a small network."""
    detail_gain: float = 1.0
    """Initial gain of the learned detail image with init = "data"."""
    start: str | None = None
    """Checkpoint of the same layout and size to start from, instead of fresh weights."""
    transfer: bool = False
    """Let `start` be of another scale: what fits is taken over, the rest (the upsampling) gets fresh weights."""
    qat: bool = False
    """Train the fused network with fake quantisation to 8 bits, which `deploy quantize` exports. Needs `start`."""


@dataclass(frozen=True)
class DataConfig:
    """Where pictures come from, and how patches are cut."""

    folder: str | None = None
    """Folder of high-resolution pictures, searched recursively; relative to the working directory."""
    low_folder: str | None = None
    """Paired data: folder with a low-resolution picture of the same relative name (any suffix) for each in `folder`.
    Then nothing is reduced or degraded, and `shrink` must be [1, 1]."""
    synthetic: int = 0
    """Number of synthetic pictures to add."""
    patch: int = 96
    """Side of a high-resolution patch, a multiple of the scale."""
    batch: int = 8
    """Patches of one process and step."""
    shrink: tuple[float, float] = (0.35, 1.0)
    """Each patch is reduced by a factor drawn from this range first: hides JPEG artefacts, varies sharpness."""
    candidates: int = 3
    """Places drawn for each patch; the one with the strongest edges is taken."""
    mix: dict[str, float] = field(default_factory=dict[str, float])
    """Shares of the patches by the names of the folders in `folder`, e.g. { photo = 0.7, text = 0.3 }; folders that
    are not named give none. Without it every picture counts by the root of its area."""
    stress: float = 0.0
    """Share of patches that are replaced by ones of extreme contrast (see `training.data.stress`)."""
    workers: int = 0
    """Processes that prepare batches; 0 prepares them in the training process."""
    bank: bool = False
    """Keep all pictures as 8-bit values on the training device, and cut and degrade patches there (see
    `training.data.bank`): for GPUs, which would wait for patches otherwise."""
    memory: int = 4096
    """MiB of decoded pictures to keep; further ones are decoded again each time."""


@dataclass(frozen=True)
class DegradeConfig:
    """What happens to low-resolution patches besides antialiased bicubic reduction. A probability of 0 is off."""

    clean: float = 0.0
    """Share of the patches that get the bicubic reduction alone."""
    blur: float = 0.0
    """Probability of a Gaussian blur before the reduction."""
    blur_sigma: tuple[float, float] = (0.2, 2.0)
    """Its standard deviation along each axis, in high-resolution pixels."""
    kernels: tuple[str, ...] = ("bicubic",)
    """Reducing kernels, one drawn per patch: "bicubic", "bilinear", "lanczos", "box"."""
    chain: float = 0.0
    """Probability of a detour: first to another size than the final one, each time by a kernel drawn anew."""
    chain_factor: tuple[float, float] = (0.5, 1.5)
    """Sides of that size as a multiple of the final ones."""
    noise: float = 0.0
    """Probability of noise: Gaussian, or, half of the time, signal-dependent (Poisson)."""
    noise_sigma: tuple[float, float] = (1.0, 15.0)
    """Its standard deviation in 8-bit steps."""
    grey_noise: float = 0.4
    """Share of noise that is equal in all channels."""
    sharpen: float = 0.0
    """Probability of an unsharp mask after the noise, with the halos that it leaves."""
    sharpen_amount: tuple[float, float] = (0.3, 1.2)
    jpeg: float = 0.0
    jpeg_quality: tuple[int, int] = (40, 95)
    jpeg_420: float = 1.0
    """Share of JPEGs with colour at half the resolution."""
    jpeg_twice: float = 0.0
    """Share of JPEGs that are compressed a second time."""
    jpeg_shift: bool = False
    """Let the grid of blocks begin anywhere, as in crops of larger pictures; else in the corner of the patch."""
    webp: float = 0.0
    webp_quality: tuple[int, int] = (40, 95)
    video: float = 0.0
    """Probability of a pass through a video encoder (needs PyAV)."""
    video_codecs: tuple[str, ...] = ("libx264", "mpeg4")
    video_crf: tuple[int, int] = (18, 35)
    """Constant rate factor; the quantiser scale of codecs that have none is (crf - 8) / 2."""


@dataclass(frozen=True)
class OptimConfig:
    """Optimisers, their schedule, and what keeps them stable."""

    steps: int
    lr: float = 2e-3
    """Adam's peak rate."""
    muon: float = 0.0
    """Muon's peak rate, for the weights of full convolutions and linear layers (see `training.optimizer`); everything
    else stays with Adam. 0: Adam for all. Needs torch 2.9 or newer."""
    final_lr: float = 1e-5
    """Where the cosine and the linear schedule end; Muon's rate falls by the same factor."""
    schedule: str = "cosine"
    """"cosine", "linear", "multistep" or "constant", each after the warm-up."""
    milestones: tuple[int, ...] = ()
    """Steps at which the multistep schedule multiplies the rate by `decay`."""
    decay: float = 0.5
    warmup: int = 200
    """Steps of linear warm-up."""
    betas: tuple[float, float] = (0.9, 0.99)
    clip: float = 1.0
    """Largest global norm of the gradient."""
    ema: float = 0.999
    """Decay of the exponential moving average of the weights; the average is what is exported."""
    amp: bool = False
    """Forward passes in bfloat16 where torch deems it safe; losses and penalties stay in float32."""
    compile: bool = False
    """Compile the forward and backward passes (`torch.compile`): a minute at the start, then faster steps."""
    checkpointing: bool = False
    """Recompute blocks in the backward pass: less memory, a third more time."""


@dataclass(frozen=True)
class GanConfig:
    """The critic; a weight of 0 trains without one."""

    weight: float = 0.0
    """Factor of the adversarial loss."""
    critic: str = "munet-4branch"
    """"munet-unet" or "munet-4branch"."""
    num_feat: int = 64
    loss: str = "r3gan"
    """"r3gan" (relativistic average hinge), "hinge", "vanilla", "lsgan" or "wgan"."""
    r1: float = 1e-7
    """Weight of the gradient penalty on real pictures. It is that of the sum of all logits, which grows with the patch;
    the published weight of 3 silences a critic that judges each pixel."""
    r2: float = 1e-7
    """Weight of the gradient penalty on generated pictures."""
    penalty_every: int = 1
    """Penalise every so many steps only, so many times as strongly."""
    lr: float = 1e-4
    betas: tuple[float, float] = (0.8, 0.99)
    start_step: int = 0
    """The generator ignores the critic before this step."""
    feature_matching: float = 0.0
    """Weight of the L1 difference of the critic's features (munet-unet and munet-4branch)."""


@dataclass(frozen=True)
class ValidationConfig:
    """Scores of the averaged network during the run."""

    folder: str | None = None
    """Folder of high-resolution pictures; none is measured unless given."""
    every: int = 1000
    limit: int | None = None
    """Use only the first so many pictures."""
    crop: int | None = None
    """Use only the middle so many pixels of each picture."""
    samples: int = 2
    """Pictures to write as PNG beside the log: bicubic, network, original."""


@dataclass(frozen=True)
class RunConfig:
    """Where a run writes, how often, and on what it runs."""

    out: str
    """Folder for checkpoints, the log and the exported model."""
    branch: str | None = None
    """A `state.safetensors` of a run of the same network to branch off: its weights, average and moments, at step 0."""
    seed: int = 1
    log_every: int = 50
    save_every: int = 500
    device: str = "auto"
    """"auto" takes a CUDA device where there is one; else "cpu", "cuda", "mps"."""
    tensorboard: bool = False
    """Also write TensorBoard logs (pip install tensorboard)."""


@dataclass(frozen=True)
class Recipe:
    """One training run."""

    data: DataConfig
    optim: OptimConfig
    run: RunConfig
    model: ModelConfig = field(default_factory=ModelConfig)
    degrade: DegradeConfig = field(default_factory=DegradeConfig)
    losses: dict[str, float] = field(default_factory=lambda: {"charbonnier": 1.0})
    """Weight of each loss, by its name."""
    gan: GanConfig = field(default_factory=GanConfig)
    validation: ValidationConfig = field(default_factory=ValidationConfig)

    def __post_init__(self) -> None:
        _check_data(self.data, self.model.scale)
        _check_degrade(self.degrade)
        _check_optim(self.optim)
        _check_gan(self.gan)
        _one_of("model.init", self.model.init, INITS)
        for name in SIZES:
            value = getattr(self.model, name)
            _require(value is None or value >= 1, f"model.{name}", value, "at least 1")
        _require(
            not self.model.transfer or self.model.start is not None, "model.transfer", True, "used with model.start"
        )
        _require(not self.model.qat or self.model.start is not None, "model.qat", True, "used with model.start")
        for name, weight in self.losses.items():
            _one_of("losses", name, LOSS_NAMES)
            _require(weight > 0, f"losses.{name}", weight, "positive; leave the line out to switch it off")
        _require(bool(self.losses) or self.gan.weight > 0, "losses", {}, "at least one loss")


def _check_data(data: DataConfig, scale: int) -> None:
    low, high = data.shrink
    _require(data.folder is not None or data.synthetic > 0, "data.folder", None, "a folder of pictures")
    _require(scale >= 1, "model.scale", scale, "at least 1")
    _require(data.patch > 0 and data.patch % scale == 0, "data.patch", data.patch, f"a multiple of the scale {scale}")
    _require(0 < low <= high <= 1, "data.shrink", [low, high], "two numbers, 0 < low <= high <= 1")
    _require(data.batch >= 1, "data.batch", data.batch, "at least 1")
    _require(data.candidates >= 1, "data.candidates", data.candidates, "at least 1")
    _require(all(share > 0 for share in data.mix.values()), "data.mix", data.mix, "positive shares")
    _require(0 <= data.stress < 1, "data.stress", data.stress, "in 0 <= stress < 1")
    _require(data.workers >= 0, "data.workers", data.workers, "at least 0")
    _require(not (data.bank and data.workers), "data.workers", data.workers, "0 with data.bank")
    _require(not (data.bank and data.low_folder), "data.low_folder", data.low_folder, "left out with data.bank")
    if data.low_folder is not None:
        _require(data.folder is not None and not data.synthetic, "data.low_folder", data.low_folder, "with data.folder")
        _require(low == high == 1, "data.shrink", [low, high], "[1, 1] with data.low_folder")


SHARES = (
    *("clean", "blur", "chain", "noise", "grey_noise", "sharpen"),
    *("jpeg", "jpeg_420", "jpeg_twice", "webp", "video"),
)
"""Probabilities in [degrade]."""


def _check_degrade(degrade: DegradeConfig) -> None:
    for name in SHARES:
        value = getattr(degrade, name)
        _require(0 <= value <= 1, f"degrade.{name}", value, "a probability, 0 to 1")
    for name in (
        "blur_sigma",
        "chain_factor",
        "noise_sigma",
        "sharpen_amount",
        "jpeg_quality",
        "webp_quality",
        "video_crf",
    ):
        low, high = getattr(degrade, name)
        _require(0 <= low <= high, f"degrade.{name}", [low, high], "two numbers, 0 <= low <= high")
    for kernel in degrade.kernels:
        _one_of("degrade.kernels", kernel, ("bicubic", "bilinear", "lanczos", "box"))


def _check_optim(optim: OptimConfig) -> None:
    _require(optim.steps >= 1, "optim.steps", optim.steps, "at least 1")
    _require(0 <= optim.ema < 1, "optim.ema", optim.ema, "in 0 <= ema < 1")
    _require(optim.clip > 0, "optim.clip", optim.clip, "positive")
    _require(optim.muon >= 0, "optim.muon", optim.muon, "at least 0")
    _one_of("optim.schedule", optim.schedule, SCHEDULES)


def _check_gan(gan: GanConfig) -> None:
    _one_of("gan.critic", gan.critic, CRITICS)
    _one_of("gan.loss", gan.loss, GAN_LOSSES)
    _require(gan.weight >= 0, "gan.weight", gan.weight, "at least 0")
    _require(gan.penalty_every >= 1, "gan.penalty_every", gan.penalty_every, "at least 1")


def _one_of(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise InvalidOptionError(f"{name}: {value!r} is unknown; known: {', '.join(known)}")


def _require(condition: bool, name: str, value: object, rule: str) -> None:
    if not condition:
        raise InvalidOptionError(f"{name} = {value} must be {rule}")

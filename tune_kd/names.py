"""Every metric, parameter, tag and file name that crosses a module's border, written once."""

from typing import Final, Literal

STUDENT_MODEL: Final = "student.model"
STUDENT_SIDE: Final = "student.image_size"
"""The key of the study that names the student's network."""

# Arms.
DISTILLED: Final = "distilled"
SCRATCH: Final[Literal["scratch"]] = "scratch"
SMOOTHED: Final[Literal["smoothed"]] = "smoothed"
"""Trained without a teacher on smoothed labels: what a teacher gains beyond this is not a regulariser's."""
RANDOM_TEACHER: Final[Literal["random_teacher"]] = "random_teacher"
"""Taught by what the teacher says of another image: what a teacher gains beyond this is what it knows."""
CONTROLS: Final = (SCRATCH, SMOOTHED, RANDOM_TEACHER)
TAUGHT: Final = (DISTILLED, RANDOM_TEACHER)
"""The arms that have a teacher's term."""
TAUGHT_KEYS: Final = ("kd.", "teacher.")
"""What begins so means nothing to a student without a teacher."""

# What a training is for.
TRIAL: Final = "trial"
CONFIRMATION: Final = "confirmation"
FINAL: Final = "final"
Role = Literal["trial", "confirmation", "final"]

# What a trial reports once an epoch.
EPOCH: Final = "epoch"
VAL_ACCURACY: Final = "val_accuracy"
VAL_LOSS: Final = "val_loss"
VAL_BALANCED: Final = "val_balanced_accuracy"
VAL_F1: Final = "val_macro_f1"
VAL_PRECISION: Final = "val_macro_precision"
VAL_RECALL: Final = "val_macro_recall"
TRAIN_LOSS: Final = "train_loss"
LOSS_CE: Final = "loss_ce"
LOSS_KD: Final = "loss_kd"
LOSS_PART: Final = "loss_kd_"
"""Begins the names of the parts of the teacher's term, where a method or several joined have parts."""
WEIGHT_CE: Final = "weight_ce"
WEIGHT_KD: Final = "weight_kd"
LEARNING_RATE: Final = "learning_rate"
IMAGES_PER_SECOND: Final = "images_per_second"
SECONDS: Final = "seconds"
REPORTED: Final = (
    VAL_ACCURACY,
    VAL_LOSS,
    VAL_BALANCED,
    VAL_F1,
    VAL_PRECISION,
    VAL_RECALL,
    TRAIN_LOSS,
    LOSS_CE,
    LOSS_KD,
    WEIGHT_CE,
    WEIGHT_KD,
    LEARNING_RATE,
    IMAGES_PER_SECOND,
    SECONDS,
)
BEST_VAL_ACCURACY: Final = "best_val_accuracy"

Interpolation = Literal["bicubic", "bilinear"]
"""Filters by which pictures are resized, antialiased both."""

ACCURACY: Final[Literal["accuracy"]] = "accuracy"
Metric = Literal["accuracy", "balanced_accuracy", "macro_f1"]
"""What a study can choose by."""


def validated(metric: str) -> str:
    """What a training reports of it once an epoch."""
    return f"val_{metric}"


def best_validated(metric: str) -> str:
    return f"best_val_{metric}"


def tested(metric: str) -> str:
    """What a final reaches in it on the test images."""
    return f"test_{metric}"


# What a final adds, measured once on the test images.
TEST_ACCURACY: Final = "test_accuracy"
TEST_NLL: Final = "test_nll"
TEST_ECE: Final = "test_ece"
TEST_BALANCED: Final = "test_balanced_accuracy"
TEST_F1: Final = "test_macro_f1"
TEST_PRECISION: Final = "test_macro_precision"
TEST_RECALL: Final = "test_macro_recall"
TEACHER_AGREEMENT: Final = "teacher_agreement"
PER_CLASS: Final = "per_class_accuracy"
CORRECT: Final = "correct"
"""Which test images a final got right, a bit an image: what an interval over test images is computed from."""
SCORE: Final = "score"
CHOSEN_BY: Final = "validated"
"""In a verdict: what the study compares arms by on test images, and chose settings by on validation images."""
PARAMETERS: Final = "parameters"
SIZE_MB: Final = "size_mb"
MACS: Final = "macs"
LATENCY_1_MS: Final = "latency_batch1_ms"
LATENCY_1_P95_MS: Final = "latency_batch1_p95_ms"
LATENCY_N_MS: Final = "latency_batch_ms"
LATENCY_N_P95_MS: Final = "latency_batch_p95_ms"
COST: Final = "cost"
"""The second objective of a search that has two: a fact of the student's model."""
WEIGHTS: Final = "weights"
"""The file of a final's weights: in the results folder, or its whole address where checkpoints are kept elsewhere."""

# Trial states, as Optuna names them, and why a trial ended early.
COMPLETE: Final[Literal["COMPLETE"]] = "COMPLETE"
PRUNED: Final[Literal["PRUNED"]] = "PRUNED"
FAIL: Final[Literal["FAIL"]] = "FAIL"
TrialState = Literal["COMPLETE", "PRUNED", "FAIL"]
STOP_REASON: Final = "stop_reason"

# MLflow tags.
TAG_PREFIX: Final = "tune_kd."
TAG_SEARCH: Final = "tune_kd.search"
TAG_ARM: Final = "tune_kd.arm"
TAG_CELL: Final = "tune_kd.cell"
TAG_STATE: Final = "tune_kd.state"
TAG_KIND: Final = "tune_kd.kind"
TAG_STOP_REASON: Final = "stop_reason"

INTERRUPTED: Final = 130
"""The exit code of a search that the user stopped."""

EARLIER: Final = "before it was resumed"
"""The phase of a search that went on: what it had taken until then."""

# Files of a result folder.
LOOKS: Final = "looks"
HOURS: Final = "hours"
"""How often the finals were judged as they stood, each time with others than before."""

STUDY_FILE: Final = "study.yaml"
LEDGER_FILE: Final = "ledger.journal"
TRIALS_FILE: Final = "trials.parquet"
FINALS_FILE: Final = "finals.parquet"
VERDICT_FILE: Final = "verdict.json"
EXAMPLES_FILE: Final = "examples.json"
REPORT_FILE: Final = "report.html"
MODEL_DIR: Final = "model"
CHECKPOINT_DIR: Final = "checkpoints"
TEACHER_DIR: Final = "teacher"
STORAGE_FILE: Final = "storage"
LOG_FILE: Final = "search.log"
EXPERIENCE_FILE: Final = "experience.json"
"""What a search knew of earlier ones when it began."""
PRECISION_SUFFIX: Final = ".precision.json"

CELL_PREFIX: Final = "cell."
CONFIG_PREFIX: Final = "config."

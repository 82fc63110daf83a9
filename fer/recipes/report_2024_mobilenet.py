"""The report's transfer learning, within memory: its five classes at 96×96 by MobileNetV2 from ImageNet's weights.

Command: fer retrain --source kaggle:OWNER/SLUG --recipe report-2024-mobilenet   (one folder per class, no split)
Expected: 105 minutes on 2 cores of an AMD EPYC with AVX2, beside tests for a tenth of the time, 103 of them training;
2.2 GB at most in the training process. Of one seed: test accuracy 0.722 (95 % interval 0.695 to 0.748), macro-F1 0.687
(0.654 to 0.716), 0.719 de-duplicated; averaged with mirror images 0.736 (0.709 to 0.761) and 0.701; validation 0.712;
the report: 0.58 and 0.56. The weights, 9 MB, are downloaded once; these figures are from a file with them, as
`--set train.weights=PATH.h5 --set train.weights_origin=ImageNet` takes it.
That was before moved and mirrored near-duplicates were detected: some were in train.
"""

from fer.curation import split
from fer.evaluation.config import GateConfig
from fer.images import augment
from fer.ingest import index
from fer.models.networks import mobilenet_v2
from fer.recipes.schema import Recipe
from fer.shards import balance, preprocessing
from fer.training import config as train_config

RECIPE = Recipe(
    name="report-2024-mobilenet",
    model_name="report-2024-mobilenet",
    index=index.IndexConfig(classes=("angry", "fear", "happy", "sad", "surprise"), synonyms={"Suprise": "surprise"}),
    split=split.SplitConfig(test_share=0.08, validation_share=0.08),
    preprocess=preprocessing.PreprocessConfig(height=96, width=96, blur_kernel=0),
    balance=balance.BalanceConfig(strategy="none"),
    train=train_config.TrainConfig(
        model=mobilenet_v2.Config(),
        weights="imagenet",
        phases=(
            train_config.Phase(epochs=1, train_from="head", learning_rate=2e-3, warmup_epochs=0),
            train_config.Phase(epochs=22),
        ),
        patience=30,
        batch_size=64,
        learning_rate=1e-3,
        warmup_epochs=1,
        weight_decay=5e-2,
        ema=0.998,
        mixup=0.2,
        augmentation=augment.AugmentConfig(
            rotation_deg=15, shift=0.08, shear_deg=0, zoom=0.15, contrast=0.2, brightness=16, erasing=0.25
        ),
        timeout_s=43_200,  # a slower machine takes hours longer
    ),
    # Where exactly one of two models is right on 25 % of the 1,140 test images, it passes 75 % of equals and 30 % of
    # models 2 points worse, simulated with the data's classes: `make bench NAME=gates`.
    gate=GateConfig(min_accuracy=0.67, min_macro_f1=0.64, margin=0.045),
    search={"train.learning_rate": "3e-4..2e-3 log", "train.weight_decay": "1e-2..2e-1 log", "train.mixup": "0.0..0.5"},
)

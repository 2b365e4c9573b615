"""A small digit classifier: its features measure distance, its answer measures agreement."""

from functools import cache
from pathlib import Path

import torch
import torch.nn.functional as F
from lightning.pytorch import LightningModule
from safetensors.torch import load_file, save
from torch import Tensor, nn

from tdmlib.datasets.digits import CLASSES, SHAPE
from tdmlib.errors import check_shapes
from tdmlib.files import write_whole
from tdmlib.metrics.inputs import real
from tdmlib.models.weights import check_state
from tdmlib.resources import find


class DigitClassifier(nn.Module):
    """Three convolutions on 8×8 images, 48 features, 10 classes."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 32, 3, padding=1), nn.SiLU(),
            nn.Conv2d(32, 32, 3, padding=1), nn.SiLU(), nn.MaxPool2d(2),
            nn.Conv2d(32, 64, 3, padding=1), nn.SiLU(), nn.Flatten(), nn.Dropout(0.2),
            nn.Linear(64 * 16, 48), nn.SiLU(),
        )  # fmt: skip
        self.head = nn.Linear(48, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, 10) of images (B, 1, 8, 8)."""
        return self.head(self.body(images))


@cache
def load_classifier() -> DigitClassifier:
    """The shipped classifier, in evaluation mode."""
    path = find("data", "digits_classifier.safetensors")
    model, state = DigitClassifier(), load_file(path)
    check_state(model, state, path)
    model.load_state_dict(state)
    return model.eval()


@torch.no_grad()
def features_and_classes(images: Tensor) -> tuple[Tensor, Tensor]:
    """Features (B, 48) and predicted classes (B,) of images (B, 1, 8, 8).

    Raises InputError for other shapes, and for images that are not real and finite.
    """
    images = torch.tensor(real("images", images)).float()
    check_shapes((*images.shape[:1], *SHAPE), images=images)
    model = load_classifier()
    features = torch.cat([model.body(part) for part in images.split(4096)])
    return features, model.head(features).argmax(dim=1)


class ClassifierTraining(LightningModule):
    """Cross entropy on shifted, noisy digits, AdamW with a cosine rate. Keeps its last weights."""

    def __init__(self, lr: float = 2e-3, weight_decay: float = 1e-2, noise: float = 0.1):
        super().__init__()
        self.save_hyperparameters()
        self.model = DigitClassifier()

    def training_step(self, batch, _):
        torch.manual_seed(self.trainer.global_step)  # so that a resumed run draws what it missed
        images, labels = batch
        padded = F.pad(images, (1, 1, 1, 1), value=-1.0)
        row, column = torch.randint(0, 3, (2,)).tolist()
        shifted = padded[:, :, row : row + 8, column : column + 8]
        images = torch.where(torch.rand(len(images), 1, 1, 1) < 0.5, shifted, images)
        images = images + self.hparams.noise * torch.randn_like(images)
        loss = F.cross_entropy(self.model(images), labels, label_smoothing=0.05)
        self.log("loss", loss, prog_bar=True)
        return loss

    def validation_step(self, batch, _):
        images, labels = batch
        accuracy = (self.model(images).argmax(dim=1) == labels).float().mean()
        self.log("accuracy", accuracy, prog_bar=True)

    def on_train_end(self) -> None:
        if self.trainer.loggers:
            path = Path(self.trainer.log_dir) / "classifier.safetensors"
            print(f"wrote the classifier to {write_whole(path, save(self.model.state_dict()))}")

    def configure_optimizers(self):
        optimizer = torch.optim.AdamW(
            self.parameters(), self.hparams.lr, weight_decay=self.hparams.weight_decay
        )
        steps = self.trainer.estimated_stepping_batches
        rate = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        return [optimizer], [{"scheduler": rate, "interval": "step"}]

from cerraseg.mapping.model import Model as Model
from cerraseg.mapping.model import Prediction as Prediction
from cerraseg.mapping.model import load as load
from cerraseg.training.loaders import MMDataset as MMDataset
from cerraseg.training.loaders import MSIDataset as MSIDataset
from cerraseg.training.loaders import Patches as Patches
from cerraseg.training.loaders import SARDataset as SARDataset
from cerraseg.training.losses import DiceLoss as DiceLoss

__version__: str

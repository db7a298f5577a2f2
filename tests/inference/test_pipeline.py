"""PaddleX's interface on a local model: the examples of its document, configuration files, and faults in them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tiny
from PIL import Image

import mxml
from mxml.errors import MxmlError, SettingError, StorageError
from mxml.inference.pipeline_config import PipelineConfig, load_pipeline_config, save_pipeline_config
from mxml.model import checkpoint, symbols
from mxml.model.run_files import RunFiles

NAME = "multi_label_image_classification"
SHAPE = (3, 32, 32)
KEYS = ["input_path", "page_index", "class_ids", "scores", "label_names"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with images and a checkpoint without a sidecar."""
    folder = tmp_path_factory.mktemp("pipeline")
    tiny.make_data(folder, train=2, val=2)
    model = symbols.fine_tune_model(folder / "net", 0, 3, SHAPE)
    files = RunFiles(str(folder / "run"))
    checkpoint.save_symbol(files.prefix, model.symbol)
    checkpoint.save_arrays(files.params(1), files.states(1), model.arg_params, model.aux_params, {})
    return folder


@pytest.fixture
def folder(made, tmp_path, monkeypatch):
    """A copy of it, as the working directory, with a configuration file."""
    shutil.copytree(made, tmp_path / "d")
    monkeypatch.chdir(tmp_path / "d")
    written = save_pipeline_config()
    written.write_text(written.read_text().replace("model: model", "model: run"))
    return tmp_path / "d"


def examples(shared):
    """The document's programs that predict."""
    text = (shared / "reference" / "paddlex-multilabel-pipeline.md").read_text(encoding="utf-8")
    return [block for block in re.findall(r"```python\n(.*?)```", text, re.S) if "create_pipeline" in block]


def test_the_documents_programs_run_with_another_import(folder, shared):
    programs = examples(shared)
    assert len(programs) == 2
    shutil.copytree(folder, folder / "my_path", ignore=shutil.ignore_patterns("images", "my_path"))
    for program in programs:
        program = program.replace("from paddlex import", "from mxml import")
        program = re.sub(r'"https?://[^"]*"', '"images/2-0.png"', program)
        run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
        assert run.returncode == 0, run.stderr
        printed = json.loads(run.stdout)
        assert list(printed) == KEYS and printed["input_path"] == "images/2-0.png"
        assert sorted(path.name for path in Path("output").iterdir()) == ["2-0_res.json", "2-0_res.png"]
        assert json.loads(Path("output/2-0_res.json").read_text()) == printed
        shutil.rmtree("output")


def test_the_guides_loop_goes_on_after_an_image_that_cannot_be_read(folder, capsys):
    guide = (Path(__file__).parents[2] / "docs" / "coming-from.md").read_text(encoding="utf-8")
    (program,) = re.findall(r"```python\n(.*?)```", guide, re.S)
    photos = Path("photos")
    photos.mkdir()
    (photos / "a.jpg").write_bytes(b"no image")
    shutil.copy("images/2-0.png", photos / "b.png")
    exec(program, {})
    assert capsys.readouterr().out.count("[] []") == 1
    assert sorted(path.name for path in Path("output").iterdir()) == ["a_res.json", "b_res.json", "b_res.png"]
    assert "not an image" in json.loads(Path("output/a_res.json").read_text())["error"]


def test_a_pipeline_gives_what_the_classifier_gives_with_its_settings(folder):
    Path("p.yaml").write_text("Pipeline: {model: run, batch_size: 2, threshold: {class_1: 0.75}}")
    results = list(mxml.create_pipeline("p.yaml", device="cpu").predict(["images", "images/2-0.png"]))
    plain = mxml.Classifier.load("run").predict(["images", "images/2-0.png"], threshold={"class_1": 0.75}, batch_size=2)
    assert results and [dict(result) for result in results] == [dict(result) for result in plain]
    assert all(result.pixels is not None for result in results)
    lower = mxml.create_pipeline("run").predict(np.zeros((40, 40, 3), np.uint8), threshold=0, top_k=2)
    assert [len(result["class_ids"]) for result in lower] == [2]


def test_both_forms_of_the_file_say_the_same(folder):
    wanted = PipelineConfig("run", 4, "cpu", [0.5, 0.1, 1])
    sub = "module_name: x, model_name: A, model_dir: run, batch_size: 4, device: cpu, threshold: [0.5, 0.1, 1]"
    for text in (
        f"Global: {{pipeline_name: {NAME}, input: x.jpg}}\n"
        "Pipeline:\n  model: run\n  batch_size: 4\n  device: cpu\n  threshold: [0.5, 0.1, 1]\n",
        f"pipeline_name: image_multilabel_classification\nSubModules:\n  ImageMultiLabelClassification: {{{sub}}}\n",
    ):
        Path("p.yaml").write_text(text)
        assert load_pipeline_config("p.yaml") == wanted
    assert load_pipeline_config("run") == PipelineConfig("run")
    assert load_pipeline_config(NAME).model == "run"


def test_a_model_is_looked_for_beside_the_file_first(folder):
    (folder / "deep").mkdir()
    shutil.copy(f"{NAME}.yaml", "deep/p.yml")
    assert load_pipeline_config("deep/p.yml").model == "run"
    shutil.copy("run-symbol.json", "deep/run-symbol.json")
    assert load_pipeline_config("deep/p.yml").model == "deep/run"


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("Pipeline: {bacth_size: 3}", "Pipeline has the unknown key 'bacth_size'; it may have batch_size, device"),
        ("Pipelines: {}", "the file has the unknown key 'Pipelines'"),
        ("- a", "the file should hold keys with values"),
        ("Pipeline: run", "Pipeline should hold keys with values"),
        ("", "names no model"),
        ("Pipeline: {model: PP-LCNet_x1_0_ML}", "there is no checkpoint at PP-LCNet_x1_0_ML; its model"),
        ("Pipeline: {model: [run]}", "names no model"),
        ("Pipeline: {model: run, batch_size: yes}", "batch_size 'True': should be a number from 1 to 65536"),
        ("Pipeline: {model: run, batch_size: 0}", "batch_size '0'"),
        ("Pipeline: {model: run, device: 0}", "device '0': should be cpu"),
        ("Pipeline: {model: run, threshold: half}", "threshold: should be a number"),
        ("Global: {pipeline_name: OCR}", f"is of the pipeline 'OCR'; mxml has {NAME} only"),
        ("a: [", "p.yaml:1: is no YAML"),
        ("a: &a [*a", "p.yaml:1: is no YAML"),
        ("Pipeline: !!python/object/apply:os.system [touch broken]", "p.yaml:1: is no YAML"),
        ("a: 2001-99-99", "is no YAML"),
        ("[" * 16_000, "is no YAML"),
        ("#" * 17_000, "holds more than 16,384 bytes"),
        ("\0", "is no YAML"),
    ],
)
def test_what_is_wrong_in_a_file_is_said_in_one_line(folder, text, fault):
    Path("p.yaml").write_text(text)
    with pytest.raises(MxmlError) as found:
        load_pipeline_config("p.yaml")
    assert fault in str(found.value) and "\n" not in str(found.value) and str(found.value).startswith("p.yaml:")
    assert not Path("broken").exists()


def test_what_there_is_no_pipeline_of_is_said(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MxmlError, match=r"there is no multi_label_image_classification\.yaml in this folder"):
        mxml.create_pipeline(pipeline=NAME)
    with pytest.raises(MxmlError, match=r"gone\.yaml: cannot be read: No such file"):
        mxml.create_pipeline("gone.yaml")
    with pytest.raises(SettingError, match="`use_hpip` True: should be False"):
        mxml.create_pipeline("run", use_hpip=True)


def test_a_configuration_file_is_not_overwritten(tmp_path):
    written = save_pipeline_config(tmp_path / "new")
    assert written == tmp_path / "new" / f"{NAME}.yaml"
    written.write_text("mine")
    with pytest.raises(StorageError, match="exists; `force` replaces it"):
        save_pipeline_config(tmp_path / "new")
    assert written.read_text() == "mine"
    save_pipeline_config(tmp_path / "new", force=True)
    assert "model: model" in written.read_text()


def test_the_array_of_an_image_gives_what_its_file_gives(folder):
    pipeline = mxml.create_pipeline(NAME)
    pixels = np.asarray(Image.open("images/2-0.png").convert("RGB"))
    from_file, from_array = pipeline.predict(["images/2-0.png", pixels], threshold=0)
    assert from_file["scores"] == from_array["scores"]

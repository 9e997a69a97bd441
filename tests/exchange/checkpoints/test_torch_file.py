"""Files of torch.save in three forms: values come back, and whatever a file holds, nothing of it runs."""

from __future__ import annotations

import copyreg
import io
import pickle
import struct
import sys
import tarfile
import types
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from openmmlab import foreign_classes

from edgedet.errors import CheckpointError
from edgedet.exchange.checkpoints.pickle_reader import Foreign, TensorRef
from edgedet.exchange.checkpoints.torch_file import open_torch_file

EXTENSION = 0xEF  # of copyreg's private range


def _zip_form(pickled: bytes, path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickled)
        archive.writestr("archive/byteorder", "little")
        archive.writestr("archive/version", "3\n")


def _stream_form(pickled: bytes, path: Path) -> None:
    headers = [pickle.dumps(value, 2) for value in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})]
    path.write_bytes(b"".join((*headers, pickled, pickle.dumps([], 2))))


def _tar_form(pickled: bytes, path: Path, storages: bytes = b"", tensors: bytes = b"") -> None:
    parts = {
        "storages": storages or pickle.dumps(0, 2) + pickle.dumps([], 2),
        "tensors": tensors or pickle.dumps(0, 2),
        "pickle": pickled,
    }
    with tarfile.open(path, "w") as archive:
        for name, data in parts.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))


FORMS = {"zip": _zip_form, "stream": _stream_form, "tar": _tar_form}
_CALL = b"(V%s\nVw\ntR"  # (path, "w"), then call what lies below
# Each leaves one value on the stack, and creates the file %s when Python's own unpickler reads it.
ATTACKS = {
    "reduce": b"cbuiltins\nopen\n" + _CALL,
    "stack-global": b"\x80\x04\x8c\x08builtins\x8c\x04open\x93" + _CALL,
    "dotted-name": b"\x80\x04\x8c\x07pathlib\x8c\x0aPath.touch\x93(cpathlib\nPath\n(V%s\ntRtR",
    "inst": b"(V%s\nVw\nibuiltins\nopen\n",
    "obj": b"(cbuiltins\nopen\nV%s\nVw\no",
    "newobj": b"cevil\nMadeByNew\n(V%s\nt\x81",
    "newobj-ex": b"cevil\nMadeByNew\n(V%s\nt}\x92",
    "build-setstate": b"cevil\nEvil\n)\x81V%s\nb",
    "append": b"cevil\nEvil\n)\x81V%s\na",
    "setitem": b"cevil\nEvil\n)\x81Vkey\nV%s\ns",
    "memo-exchanged": b"ccollections\nOrderedDict\nq\x000cbuiltins\nopen\nq\x000h\x00" + _CALL,
    "extension-code": b"\x82" + bytes([EXTENSION]) + _CALL,
    "persistent-id": b"(Vstorage\ncbuiltins\nopen\n" + _CALL + b"V0\nVcpu\nK\x01tQ",
    "nested": b"](}Vmeta\n}Vhooks\n](cbuiltins\nopen\n" + _CALL + b"esse",
}


@pytest.fixture
def evil() -> Iterator[None]:
    """A module whose classes create a file in every way that a pickle can reach."""

    class Evil:
        def __setstate__(self, path: str) -> None:
            Path(path).touch()

        def append(self, path: str) -> None:
            Path(path).touch()

        def __setitem__(self, _: str, path: str) -> None:
            Path(path).touch()

    class MadeByNew:
        def __new__(cls, path: str) -> MadeByNew:
            Path(path).touch()
            return super().__new__(cls)

    module = types.ModuleType("evil")
    module.Evil, module.MadeByNew = Evil, MadeByNew  # type: ignore[attr-defined]
    sys.modules["evil"] = module
    copyreg.add_extension("builtins", "open", EXTENSION)
    yield
    copyreg.remove_extension("builtins", "open", EXTENSION)
    del sys.modules["evil"]


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.usefixtures("evil")
@pytest.mark.parametrize("attack", ATTACKS)
def test_attacks_are_real(tmp_path: Path, attack: str) -> None:
    marker = tmp_path / "marker"
    with suppress(pickle.UnpicklingError):  # of the persistent id, after the harm
        pickle.loads(b"}Vmeta\n" + ATTACKS[attack].replace(b"%s", str(marker).encode()) + b"s.")
    assert marker.exists()


@pytest.mark.usefixtures("evil")
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("attack", ATTACKS)
def test_open_torch_file_malicious_pickle_runs_nothing(tmp_path: Path, attack: str, form: str) -> None:
    marker, path = tmp_path / "marker", tmp_path / "evil.pth"
    FORMS[form](b"}Vmeta\n" + ATTACKS[attack].replace(b"%s", str(marker).encode()) + b"s.", path)
    try:
        root = open_torch_file(path).root
    except CheckpointError as error:
        assert attack == "extension-code", error  # noqa: PT017 - all others are read, as values
    else:
        assert isinstance(root["meta"], Foreign | list | str)  # str: the tar form's ids are the first of a tuple
    assert not marker.exists()


def test_open_torch_file_own_loader_of_torch_is_not_fooled_either(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
            return open, (str(tmp_path / "marker"), "w")

    for zip_form in (True, False):
        torch.save(
            {"state_dict": {"a": torch.ones(2)}, "hook": Evil()},
            tmp_path / "e.pth",
            _use_new_zipfile_serialization=zip_form,
        )
        file = open_torch_file(tmp_path / "e.pth")
        assert file.tensor(file.root["state_dict"]["a"]).tolist() == [1.0, 1.0]
        assert not (tmp_path / "marker").exists()


def _content() -> dict[str, object]:
    base = torch.arange(24, dtype=torch.float32).reshape(4, 6)
    return {
        "transposed": base.T[1:],
        "row": base[2],
        "half": torch.tensor([1.5, -2.0], dtype=torch.float16),
        "bf16": torch.tensor([1.5, -2.0], dtype=torch.bfloat16),
        "scalar": torch.tensor(7),
        "empty": torch.empty(0, 3),
        "parameter": torch.nn.Parameter(torch.ones(2, 2)),
        "long": torch.tensor([2**40]),
    }


@pytest.mark.parametrize("zip_form", [True, False])
def test_open_torch_file_foreign_objects_inside_gives_every_tensor(tmp_path: Path, zip_form: bool) -> None:
    content, path = _content(), tmp_path / "file.pth"
    with foreign_classes() as foreign:
        hub = {
            "history": foreign.HistoryBuffer(),
            "scalar": np.float64(1.5),
            "meta": foreign.ConfigDict(classes=("a", "b")),
        }
        torch.save({"state_dict": content, "hub": hub}, path, _use_new_zipfile_serialization=zip_form)
    file = open_torch_file(path)
    assert not file.plain
    for name, value in content.items():
        found = file.root["state_dict"][name]
        assert isinstance(found, TensorRef), name
        assert isinstance(value, torch.Tensor)
        assert torch.equal(file.tensor(found), value), name
        assert file.tensor(found).dtype == value.dtype
    assert file.root["hub"]["meta"].items == {"classes": ("a", "b")}
    assert isinstance(file.root["hub"]["history"], Foreign)


def test_open_torch_file_plain_content_is_loaded_by_torch(tmp_path: Path) -> None:
    torch.save({"state_dict": _content()}, tmp_path / "file.pth")
    file = open_torch_file(tmp_path / "file.pth")
    assert file.plain
    assert torch.equal(file.tensor(file.root["state_dict"]["row"]), torch.arange(12.0, 18.0))


def test_open_torch_file_tar_form_gives_tensors(tmp_path: Path) -> None:
    # Laid out by hand as torch 0.1 did: a storage of 6 floats, a view of it, and a 2x2 tensor with offset 1.
    storage = pickle.dumps(1, 2) + b"(K\x01Vcpu\nctorch\nFloatStorage\nt."
    storage += struct.pack("<q6f", 6, *range(6)) + pickle.dumps([(2, 1, 2, 3)], 2)
    tensors = pickle.dumps(2, 2)
    tensors += b"(K\x07K\x01ctorch\nFloatTensor\nt." + struct.pack("<ii2q2qq", 2, 0, 2, 2, 2, 1, 1)
    tensors += b"(K\x08K\x02ctorch\nFloatTensor\nt." + struct.pack("<iiqqq", 1, 0, 3, 1, 0)
    _tar_form(b"}(Va\nV7\nQVb\nV8\nQu.", tmp_path / "old.pth", storage, tensors)
    file = open_torch_file(tmp_path / "old.pth")
    assert file.tensor(file.root["a"]).tolist() == [[1.0, 2.0], [3.0, 4.0]]
    assert file.tensor(file.root["b"]).tolist() == [2.0, 3.0, 4.0]


def _first_tensor(path: Path) -> torch.Tensor:
    file = open_torch_file(path)
    return file.tensor(file.root["a"])


@pytest.mark.parametrize("zip_form", [True, False])
def test_open_torch_file_truncated_anywhere_is_one_error(tmp_path: Path, zip_form: bool) -> None:
    class Local:
        pass

    Local.__module__, Local.__qualname__ = "gone", "Local"
    sys.modules["gone"] = types.ModuleType("gone")
    sys.modules["gone"].Local = Local  # type: ignore[attr-defined]
    try:
        torch.save({"a": torch.arange(50.0), "b": Local()}, tmp_path / "a.pth", _use_new_zipfile_serialization=zip_form)
    finally:
        del sys.modules["gone"]
    data = (tmp_path / "a.pth").read_bytes()
    for length in (0, 1, 3, *range(4, len(data) - 1, 97)):
        (tmp_path / "cut.pth").write_bytes(data[:length])
        with pytest.raises(CheckpointError, match=r"cut\.pth: "):
            _first_tensor(tmp_path / "cut.pth")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "pickled",
    [
        b"",
        b".",
        b"N",
        b"\x8d\xff\xff\xff\xff\xff\xff\xff\x7fabc.",  # a text of 2^63 bytes
        b"\x8b\xff\xff\xff\x7fabc.",  # a number of 2 GB
        b"L" + b"9" * 10_000 + b"L\n.",  # a decimal number that takes long to read
        b"h\x05.",  # a memo that was never written
        b"(((((.",
        b"Nt.",
        b"}]Va\ns.",  # a list as a key
        b"ctorch._utils\n_rebuild_tensor_v2\n((Vstorage\nctorch\nFloatStorage\nV0\nVcpu\nK\x01tQK\x00(J\xff\xff\xff\x7ftK\x01tt(R.",
        b"\x97.",
    ],
)
def test_open_torch_file_damaged_pickle_is_one_error_or_no_value(tmp_path: Path, pickled: bytes, form: str) -> None:
    FORMS[form](pickled, tmp_path / "bad.pth")
    try:
        root = open_torch_file(tmp_path / "bad.pth").root
    except CheckpointError as error:
        assert "bad.pth" in str(error)  # noqa: PT017 - a value without tensors is as good
    else:
        assert root in ({}, None)


def test_open_torch_file_hash_bomb_is_dropped(tmp_path: Path) -> None:
    # 60 levels of pairs of one object: its hash would take 2^60 steps. As a key of a dict it must not be hashed.
    _stream_form(b"})" + b"2\x86" * 60 + b"Nsq\x00.", tmp_path / "bomb.pth")
    assert open_torch_file(tmp_path / "bomb.pth").root == {}


def test_open_torch_file_compressed_member_is_refused_before_it_grows(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bomb.pth", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"\x00" * 10_000_000)
    with pytest.raises(CheckpointError, match="compressed"):
        open_torch_file(tmp_path / "bomb.pth")


def test_open_torch_file_tensor_larger_than_its_storage_is_refused(tmp_path: Path) -> None:
    storage = b"(Vstorage\nctorch\nFloatStorage\nV0\nVcpu\nK\x01tQ"
    tensor = b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + b"K\x00(J\x00\x00\x00\x40t(K\x00ttR"
    _stream_form(b"}Va\n" + tensor + b"s.", tmp_path / "large.pth")
    with pytest.raises(CheckpointError, match="in a storage of 1 elements"):
        open_torch_file(tmp_path / "large.pth")


@pytest.mark.parametrize(
    ("name", "data"), [("empty.pth", b""), ("text.pth", b"hello"), ("model.tflite", b"\x00\x00\x00\x00TFL3")]
)
def test_open_torch_file_other_file_says_so(tmp_path: Path, name: str, data: bytes) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(CheckpointError, match=name):
        open_torch_file(tmp_path / name)
    with pytest.raises(CheckpointError, match="no such checkpoint"):
        open_torch_file(tmp_path / "missing.pth")

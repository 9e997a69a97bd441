from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from coco_document import document, write_roboflow

from edgedet.data.coco.build import load_split
from edgedet.data.coco.split import require_same_classes
from edgedet.errors import DataError


def test_require_same_classes_equal_lists_in_another_order_mean_the_same_labels(tmp_path: Path) -> None:
    write_roboflow(tmp_path, document())
    turned = document()
    turned["categories"].reverse()
    write_roboflow(tmp_path, turned, "valid")
    train, valid = load_split(tmp_path, "train"), load_split(tmp_path, "valid")
    require_same_classes(train, valid)
    assert train.class_names == valid.class_names == ("cat", "dog")
    assert train.images[0].labels.tolist() == valid.images[0].labels.tolist() == [1, 0]


@pytest.mark.parametrize("change", [{"id": 8, "name": "dog"}, {"id": 7, "name": "fox"}])
def test_require_same_classes_other_id_or_name_raises_data_error(tmp_path: Path, change: dict[str, Any]) -> None:
    write_roboflow(tmp_path, document())
    other = document()
    other["categories"][1] = change
    other["annotations"][0]["category_id"] = change["id"]
    write_roboflow(tmp_path, other, "valid")
    with pytest.raises(DataError, match="list different categories"):
        require_same_classes(load_split(tmp_path, "train"), load_split(tmp_path, "valid"))

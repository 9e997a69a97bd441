"""Write the table of kinds of docs/reliability.md: what was tried against each, by which tests, and how they ended.

    python bench/reliability_table.py            # runs the tests below, a few minutes on one core
    python bench/reliability_table.py --only 1 5 # those of some rows; prints and writes nothing

Exit status 1: a test failed. Sections of the file that other scripts write stay as they are.
"""

from __future__ import annotations

import argparse
import platform
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DOCUMENT = ROOT / "docs" / "reliability.md"
BEGIN, END = "<!-- kinds: begin -->", "<!-- kinds: end -->"


@dataclass(frozen=True)
class Row:
    """One kind of situation."""

    kind: str
    inputs: str  # what was tried
    tests: tuple[str, ...]  # node ids, below tests/
    beside: str = ""  # what other sections of the document, or nobody, show


ROWS = (
    Row(
        "texts of a stranger's file in generated files",
        "hostile names and descriptions in C, C++, CMake, Make, manifests, SVG, HTML, JSON; pictures of "
        "other formats; modules in the current folder; scales that shift out of range",
        (
            "deploy/test_hostile_texts.py::test_deploy_project_any_texts_stay_texts_of_their_manifests",
            "deploy/test_hostile_texts.py::test_charts_any_texts_are_well_formed",
            "deploy/test_page.py::test_page_texts_of_a_stranger_stay_texts",
            "deploy/test_page.py::test_page_texts_of_a_board_file_stay_texts",
            "deploy/test_page.py::test_board_file_with_line_ends_in_its_texts_is_refused",
            "deploy/targets/test_web.py::test_page_texts_of_the_model_stay_texts",
            "drawing/test_charts.py::test_svg_text_is_escaped",
            "test_escape.py::test_c_texts_compile_and_come_back",
            "test_escape.py::test_xml_and_html_texts_parse_back",
            "test_escape.py::test_json_text_is_json_whatever_it_is_given",
            "test_escape.py::test_c_identifier_made_by_somebody_else_is_refused",
            "test_escape.py::test_build_words_made_by_somebody_else_are_refused",
            "test_escape.py::test_template_value_of_another_kind_is_refused",
            "graph/test_metadata.py::test_read_contracts_value_of_another_kind_names_file_and_key",
            "data/pictures/test_opening.py::test_open_image_other_formats_are_refused_whatever_the_name",
            "test_current_folder.py::test_program_takes_no_module_of_the_current_folder",
            "deploy/targets/test_c99_audit.py::test_deploy_c99_scales_that_shift_out_of_range_are_refused",
        ),
    ),
    Row(
        "a folder that is replaced",
        "a successor that did not come, errors between, files that somebody put there, links, mounts",
        (
            "outputs/test_folder.py::test_hold_output_brings_back_a_folder_whose_successor_did_not_come",
            "outputs/test_folder.py::test_added_files_error_leaves_everything_as_it_was",
            "outputs/test_folder.py::test_new_folder_brings_along_what_somebody_put_there_meanwhile_and_nothing_else",
            "outputs/test_folder.py::test_folder_with_a_mount_below_is_never_exchanged",
        ),
        "every system call: Fault injection",
    ),
    Row(
        "1: nothing left to learn or to judge",
        "crowds, 0..1, percent, thousandths, corners, centres, two meanings in one file, boxes of larger or smaller "
        "pictures, negative, lost or doubled boxes, boxes too small to see, splits without boxes, blank pictures",
        (
            "data/check/test_content.py::test_bad_data_set_is_refused_by_check_and_training_alike",
            "data/coco/test_facts.py::test_misread_boxes_names_the_likely_cause",
            "data/coco/test_facts.py::test_misread_boxes_y_before_x_is_named",
            "data/coco/test_facts.py::test_misread_boxes_parts_of_hundred_and_thousand_are_named",
            "data/coco/test_facts.py::test_misread_boxes_objects_that_stay_in_a_corner_are_right",
            "data/coco/test_facts.py::test_misread_boxes_one_large_object_in_each_image_is_right",
            "data/coco/test_facts.py::test_misread_boxes_of_two_tools_are_named_and_objects_that_reach_out_are_not",
            "data/coco/test_facts.py::test_misread_boxes_of_larger_pictures_are_named",
            "data/coco/test_facts.py::test_corner_example_speaks_of_boxes_that_spread_over_a_corner",
            "data/coco/test_build.py::test_load_split_odd_entries_are_counted",
            "data/check/test_report.py::test_check_dataset_pictures_of_one_colour_are_named",
            "data/check/test_report.py::test_check_dataset_many_classes_without_boxes_are_one_sentence",
            "evaluate/figures/test_false_alarms.py::test_evaluate_negatives_counts_what_the_contract_reports",
            "evaluate/figures/test_false_alarms.py::test_evaluate_crowds_only_raises_data_error",
        ),
    ),
    Row(
        "2: ids",
        "64-bit image and category ids, annotation id 0, the same id twice, 400 digits, text, ids that are one off",
        (
            "evaluate/figures/test_coco_ap.py::test_coco_ap_64_bit_ids_give_the_same",
            "evaluate/figures/test_coco_ap.py::test_coco_ap_annotation_id_0_is_found_and_the_plain_number_told",
            "data/coco/test_build.py::test_load_split_duplicate_annotation_ids_are_renumbered_and_counted",
            "data/coco/test_build.py::test_load_split_annotation_id_0_is_kept_and_counted",
            "data/coco/test_build.py::test_load_split_image_ids_one_off_are_named",
        ),
    ),
    Row(
        "3: distillation from a weak teacher",
        "teacher boxes without area, a teacher that sees nothing, losses that run away",
        (
            "finetune/test_distill.py::test_distillation_loss_leaves_out_teacher_boxes_without_area",
            "finetune/test_distill.py::test_distillation_loss_teacher_that_sees_nothing_teaches_no_boxes",
            "training/test_runaway.py::test_loss_watch_stops_what_runs_away",
            "training/test_runaway.py::test_loss_watch_lets_learning_pass",
        ),
    ),
    Row(
        "4: QAT's check of its file",
        "better, equal and worse files, many images and one; a refused file",
        (
            "finetune/test_qat.py::test_check_file_refuses_only_a_worse_file",
            "finetune/test_qat.py::test_check_file_little_evidence_passes_and_says_so",
            "finetune/test_qat.py::test_accepted_loss_follows_student_t",
            "finetune/test_qat.py::test_accepted_loss_falls_with_more_images",
            "finetune/test_qat.py::test_qat_checkpoint_refused_file_keeps_its_papers",
            "evaluate/test_ap_bootstrap.py::test_ap_difference_error_is_zero_for_equal_models_and_follows_the_seed",
        ),
    ),
    Row(
        "5: EXIF",
        "stored and upright boxes, mixed and contradicting sizes, other splits, merged data sets, YOLO, damaged tags",
        (
            "data/coco/test_orientation.py::test_load_one_image_with_swapped_sides_shows_the_frame_of_all",
            "data/coco/test_orientation.py::test_load_flag_decides_where_no_size_shows_it",
            "data/coco/test_orientation.py::test_load_upright_sizes_keep_all_boxes",
            "data/coco/test_orientation.py::test_load_another_split_of_the_data_set_shows_the_frame",
            "data/coco/test_orientation.py::test_load_contradicting_sizes_ask_for_the_flag",
            "data/coco/test_orientation.py::test_load_merged_data_sets_have_a_frame_each",
            "data/coco/test_orientation.py::test_load_yolo_boxes_of_stored_pixels_are_turned_by_the_flag",
            "data/coco/test_orientation.py::test_load_damaged_exif_is_counted_and_not_printed",
        ),
    ),
    Row(
        "6: 16-bit pictures of 10 or 12 bits",
        "dark data sets, folders and single pictures, thermal cameras, 32 bits, signs, white is 0",
        (
            "data/coco/test_wide_pictures.py::test_weak_text_bits_that_are_used_decide",
            "data/coco/test_wide_pictures.py::test_weak_pictures_little_contrast_is_named",
            "data/coco/test_wide_pictures.py::test_weak_pictures_one_or_two_may_show_a_wall",
            "data/coco/test_wide_pictures.py::test_load_folder_dark_pictures_are_refused_where_they_are_used",
            "data/coco/test_wide_pictures.py::test_inspect_refuses_dark_pictures_before_it_opens_a_model",
            "data/pictures/test_preprocess.py::test_load_image_grey_outside_16_bits_raises_data_error",
            "data/pictures/test_preprocess.py::test_load_image_tiff_whose_white_is_zero_is_turned_round",
            "data/check/test_content.py::test_require_bright_files_only_dark_16_bit_pictures_are_refused",
            "evaluate/figures/test_false_alarms.py::test_predict_dark_16_bit_pictures_raise_data_error",
        ),
    ),
    Row(
        "7: success that shows nothing",
        "the commands of the section What exit 0 says; pictures in train and valid; outputs that are no numbers",
        (
            "evaluate/figures/test_reading.py::test_too_few_pictures_are_said_however_narrow_their_interval_is",
            "evaluate/figures/test_reading.py::test_finds_nothing_speaks_of_an_ap_that_was_measured",
            "evaluate/test_coco_results.py::test_evaluate_results_without_a_detection_says_so",
            "evaluate/test_fit_thresholds.py::test_operating_point_without_labels_is_refused_before_any_work",
            "commands/test_main.py::test_predict_that_finds_nothing_says_so",
            "data/check/test_leak.py::test_load_for_training_warns_of_pictures_in_both_splits",
            "evaluate/test_detect.py::test_detect_outputs_that_are_no_numbers_are_an_error",
            "commands/test_main.py::test_option_without_effect_in_this_mode_is_an_error",
            "finetune/test_substitute.py::test_substitute_report_of_a_network_that_finds_nothing_says_so",
        ),
    ),
    Row(
        "8: texts and file names",
        "terminals of ASCII and cp1252, undecodable bytes, NFD, URLs, back-slashes, case, names that steer a terminal, "
        "a reader that went away, closed streams",
        (
            "test_terminal.py::test_output_that_is_not_utf8_shows_replacements",
            "test_terminal.py::test_error_that_names_undecodable_bytes_is_one_line",
            "test_terminal.py::test_report_files_take_names_of_undecodable_bytes",
            "test_terminal.py::test_reader_that_went_away_ends_the_command_in_silence",
            "test_terminal.py::test_names_that_steer_a_terminal_are_shown_by_their_code",
            "test_streams.py::test_closed_streams_show_nothing_and_the_work_is_done",
            "data/formats/test_file_names.py::test_find_upper_case_counts_where_both_are_there",
            "data/formats/test_file_names.py::test_find_name_written_in_another_way",
            "data/formats/test_file_names.py::test_find_exact_name_wins_and_two_others_are_an_error",
            "data/formats/test_file_names.py::test_load_split_warns_once_of_names_written_in_another_way",
        ),
    ),
    Row(
        "9: full disk, no rights, limits",
        "/dev/full, also as stdout and stderr, a limit of file size, folders where nobody can write or that are "
        "gone, torch.save's own error, outputs in place of inputs",
        (
            "outputs/test_failures.py::test_naming_output_says_file_reason_and_remedy",
            "outputs/test_failures.py::test_naming_output_understands_torch",
            "outputs/test_failures.py::test_checkpoint_above_the_limit_of_file_size_keeps_the_old_one",
            "outputs/test_failures.py::test_command_on_a_full_device_ends_with_one_line",
            "commands/test_main.py::test_output_that_cannot_be_written_is_noticed_before_the_work",
            "test_streams.py::test_full_standard_error_ends_no_work",
            "test_streams.py::test_full_standard_output_is_one_line_and_code_2",
            "test_streams.py::test_folder_that_was_removed_is_named",
            "test_streams.py::test_outputs_never_replace_what_is_read",
            "test_fileio.py::test_require_out_folder_refuses_the_root",
        ),
        "every system call: Fault injection",
    ),
    Row(
        "10: types and sizes in files",
        "any value anywhere in a checkpoint, odd tensors, compressed members, long values; TOML nesting; huge pictures",
        (
            "net/test_hostile_checkpoint.py::test_load_checkpoint_odd_tensor_names_file_and_key",
            "net/test_hostile_checkpoint.py::test_load_checkpoint_compressed_members_are_refused_unread",
            "net/test_hostile_checkpoint.py::test_load_checkpoint_long_values_are_refused_unread",
            "net/test_hostile_checkpoint.py::test_load_checkpoint_largest_network_asked_for_takes_no_memory",
            "exchange/checkpoints/test_torch_file.py::test_open_torch_file_malicious_pickle_runs_nothing",
            "data/pictures/test_opening.py::test_open_image_too_large_is_refused_before_memory_is_taken",
            "data/pictures/test_preprocess.py::test_load_image_file_of_another_kind_is_named",
            "net/test_checkpoint.py::test_load_checkpoint_wrong_weights_name_the_tensor",
            "test_typed.py::test_build_wrong_value_names_the_key",
            "test_typed.py::test_require_plain_refuses_what_has_no_end_as_text",
        ),
        "10,000 of each kind: Damaged files",
    ),
    Row(
        "11: what killed runs and odd files leave",
        "a kill in the first epoch, hidden folders, pipes, devices and sockets, one value a channel",
        (
            "training/test_loop.py::test_train_resume_without_a_finished_epoch_starts_anew_and_says_so",
            "test_fileio.py::test_atomic_path_removes_what_a_killed_run_left_and_nothing_else",
            "test_fileio.py::test_atomic_path_leaves_the_hidden_folder_of_a_living_run_alone",
            "test_fileio.py::test_out_file_pipes_sockets_and_devices_are_refused_at_once",
            "data/pictures/test_opening.py::test_open_image_pipes_and_devices_are_refused_without_waiting",
            "test_fileio.py::test_pipes_in_place_of_inputs_are_refused_without_waiting",
            "finetune/test_substitute.py::test_substitute_checkpoint_one_value_a_channel_is_refused",
        ),
    ),
    Row(
        "12: `data check` finds what training refuses",
        "damaged and unusual data sets, each given to both",
        (
            "data/check/test_content.py::test_bad_data_set_is_refused_by_check_and_training_alike",
            "data/check/test_content.py::test_unusual_data_set_is_taken_by_check_and_training_alike",
            "data/check/test_content.py::test_cut_off_image_is_refused_by_check_and_training_alike",
            "data/check/test_content.py::test_check_dataset_lists_every_refusal",
            "data/check/test_whole.py::test_load_for_training_names_every_broken_picture_of_both_splits",
        ),
    ),
    Row(
        "13: fuzzing",
        "some files of each kind, all earlier finds",
        (
            "fuzz/test_fuzz.py::test_fuzz_some_files_of_each_kind_find_nothing",
            "fuzz/test_fuzz.py::test_corpus_every_file_that_was_a_find_is_refused",
            "fuzz/test_fuzz.py::test_fuzz_reader_that_crashes_is_found_once_and_kept",
        ),
        "long run: Damaged files",
    ),
    Row(
        "14: fault injection",
        "the writers of the package, and one that is not safe, which has to be found",
        (
            "faults/test_faults.py::test_faults_leave_the_state_before_or_after",
            "faults/test_faults.py::test_faults_are_found_where_a_command_is_not_safe",
        ),
        "whole commands: Fault injection",
    ),
    Row(
        "15: races",
        "two runs into one folder, data that changes or vanishes during training, clocks",
        (
            "outputs/test_lock.py::test_hold_output_second_process_is_refused_with_the_first_until_it_dies",
            "outputs/test_clock.py::test_package_reads_the_wall_clock_only_to_say_when",
            "training/test_changes.py::test_data_watch_names_files_that_changed_or_vanished_once",
            "training/test_loop.py::test_train_second_run_into_the_same_folder_is_refused_with_the_first",
            "training/test_loop.py::test_train_image_that_vanishes_ends_the_run_with_its_name",
        ),
    ),
    Row(
        "16: generated C",
        "one module under MSan, TSan and two analyzers, any frame and pointers",
        (
            "deploy/targets/test_c99_audit.py::test_generated_c_reads_no_uninitialised_memory",
            "deploy/targets/test_c99_audit.py::test_generated_c_runs_in_two_threads_with_an_arena_each",
            "deploy/targets/test_c99_audit.py::test_edgedet_run_gives_a_status_for_any_frame_and_pointers",
        ),
        "all modules: Generated C",
    ),
    Row(
        "17: growth",
        "histograms whose memory must not grow; the rest is measured, not tested",
        ("quantize/calibration/test_histogram.py::test_histogram_memory_does_not_grow",),
        "docs/scale.md",
    ),
)


def main() -> int:
    """Run the tests of the rows, write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=[], metavar="N", help="rows whose kind begins so; writes nothing")
    args = parser.parse_args()
    rows = [row for row in ROWS if not args.only or row.kind.startswith(tuple(f"{number}:" for number in args.only))]
    since = time.monotonic()
    outcomes = run_tests(sorted({test for row in rows for test in row.tests}))
    text = table(rows, outcomes, time.monotonic() - since)
    print(text, end="")
    if not args.only:
        DOCUMENT.write_text(replaced(DOCUMENT.read_text(encoding="utf-8"), text), encoding="utf-8")
    return int(any(outcome == "failed" for results in outcomes.values() for outcome in results))


def run_tests(tests: Sequence[str]) -> dict[str, list[str]]:
    """Outcomes (passed, failed, skipped) of every case of each test; a test that did not run at all has failed."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        names = [f"tests/{test}" for test in tests]
        command = [sys.executable, "-m", "pytest", "-q", "-m", "", "-p", "no:cacheprovider", f"--junitxml={report}"]
        subprocess.run([*command, *names], cwd=ROOT, check=False, stdout=sys.stderr)
        cases = list(ElementTree.parse(report).iter("testcase"))
    outcomes = dict[str, list[str]]()
    for test in tests:
        module, _, function = test.partition("::")
        found = [
            case
            for case in cases
            if case.get("classname") == f"tests.{module.removesuffix('.py').replace('/', '.')}"
            and case.get("name", "").partition("[")[0] == function
        ]
        outcomes[test] = [_outcome(case) for case in found] or ["failed"]
    return outcomes


def _outcome(case: ElementTree.Element) -> str:
    tags = {child.tag for child in case}
    return "failed" if tags & {"failure", "error"} else "skipped" if "skipped" in tags else "passed"


def table(rows: Sequence[Row], outcomes: dict[str, list[str]], seconds: float) -> str:
    """The section as Markdown, with its marks."""
    lines = [
        BEGIN,
        "## Kinds",
        "",
        "Each kind of situation that went wrong once, what is tried against it, and how the cases ended.",
        "",
        "| kind | tried | cases | outcome | beside |",
        "| --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        count = Counter(outcome for test in row.tests for outcome in outcomes[test])
        ended = ", ".join(f"{count[name]} {name}" for name in ("passed", "failed", "skipped") if count[name])
        lines.append(f"| {row.kind} | {row.inputs} | {count.total()} | {ended} | {row.beside} |")
    revision = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.strip()
    lines += [
        "",
        f"`python bench/reliability_table.py`, commit {revision}, {platform.system()} {platform.machine()}, Python "
        f"{platform.python_version()}, {seconds:.0f} s. The node ids of the tests stand in the script; skipped cases "
        "are combinations that do not exist, or need a tool that this machine lacks.",
        END,
    ]
    return "\n".join(lines) + "\n"


def replaced(document: str, text: str) -> str:
    """The document with its table replaced, or put behind the title when there is none."""
    before, found, rest = document.partition(BEGIN)
    if found:
        return before + text.rstrip("\n") + rest.partition(END)[2]
    title, _, rest = document.partition("\n\n")
    return f"{title}\n\n{text}\n{rest}"


if __name__ == "__main__":
    sys.exit(main())

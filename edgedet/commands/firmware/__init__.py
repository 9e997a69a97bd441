"""The commands on the way to a board: boards, pre-flight, deploy, Arm's NPU."""

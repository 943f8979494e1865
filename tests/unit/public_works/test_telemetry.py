"""What is counted is what Prometheus reads."""

from prometheus_client.parser import text_string_to_metric_families

from symphainy.public_works.telemetry import RegistryTelemetry


def samples(telemetry: RegistryTelemetry) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(telemetry.text().decode())
        for sample in family.samples
    }


def test_counts_add_up_by_label() -> None:
    telemetry = RegistryTelemetry()
    telemetry.count("executions", status="completed")
    telemetry.count("executions", 2, status="completed")
    telemetry.count("executions", status="failed")
    telemetry.count("wal_events", 7)
    found = samples(telemetry)
    assert found["symphainy_executions_total", (("status", "completed"),)] == 3
    assert found["symphainy_executions_total", (("status", "failed"),)] == 1
    assert found["symphainy_wal_events_total", ()] == 7


def test_labels_in_another_order_are_the_same_labels() -> None:
    telemetry = RegistryTelemetry()
    telemetry.count("steps", intent="a", status="ok")
    telemetry.count("steps", status="ok", intent="a")
    assert samples(telemetry)["symphainy_steps_total", (("intent", "a"), ("status", "ok"))] == 2


def test_durations_fall_into_buckets() -> None:
    telemetry = RegistryTelemetry()
    for seconds in (0.0007, 0.2, 400):
        telemetry.observe("step", seconds)
    found = samples(telemetry)
    assert found["symphainy_step_seconds_count", ()] == 3
    assert found["symphainy_step_seconds_sum", ()] == 400.2007
    buckets = ("0.0005", "0.001", "0.25", "300.0", "+Inf")
    assert [found["symphainy_step_seconds_bucket", (("le", le),)] for le in buckets] == [0, 1, 2, 2, 3]


def test_a_gauge_is_what_it_was_set_to_last() -> None:
    telemetry = RegistryTelemetry()
    telemetry.gauge("running", 5)
    telemetry.gauge("running", 2)
    assert samples(telemetry)["symphainy_running", ()] == 2


def test_a_label_cannot_forge_a_line() -> None:
    telemetry = RegistryTelemetry()
    telemetry.count("executions", intent='a"} 1\nsymphainy_forged_total 9\n#')
    names = {name for name, _ in samples(telemetry)}
    assert "symphainy_forged_total" not in names


def test_two_platforms_in_one_process_do_not_mix() -> None:
    one, other = RegistryTelemetry(), RegistryTelemetry()
    one.count("executions")
    assert ("symphainy_executions_total", ()) not in samples(other)


def test_the_process_itself_is_measured() -> None:
    assert samples(RegistryTelemetry())["process_resident_memory_bytes", ()] > 1_000_000


def test_without_a_collector_a_span_is_nothing() -> None:
    with RegistryTelemetry().span("step", execution_id="exe_1"):
        pass

"""Variables of this service that are no settings, and those that belong to somebody else."""

import pytest

from enrollment.runtime.setting_names import VARIABLES, unknown_names
from enrollment.runtime.settings import (
    SettingsError,
    check_variables,
    from_env,
    names_set,
)


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("ENROLL_DATABSE_URL", "ENROLL_DATABASE_URL"),
        ("ENROLL_DATABASE", "ENROLL_DATABASE_URL"),
        ("ENROLL_DB_URL", "ENROLL_DATABASE_URL"),
        ("ENROLL_database_url", "ENROLL_DATABASE_URL"),
        ("ENROLL_REDISURL", "ENROLL_REDIS_URL"),
        ("ENROLL_RETENTION_DAY", "ENROLL_RETENTION_DAYS"),
        ("ENROLL_MAX_UPLOAD_BYTE", "ENROLL_MAX_UPLOAD_BYTES"),
        ("ENROLL_API_KYE", "ENROLL_API_KEY"),
        ("ENROLL_XYZZY", None),
    ],
)
def test_a_misspelt_name_is_refused_with_the_nearest(name, nearest):
    assert unknown_names({name: "1", "PATH": "/bin"}, VARIABLES) == {name: nearest}
    with pytest.raises(SettingsError) as refusal:
        from_env({name: "1"})

    assert f"{name} is not a setting" in str(refusal.value)
    assert ("did you mean" in str(refusal.value)) == (nearest is not None)
    assert "`enroll doctor --settings` lists all settings." in str(refusal.value)


def test_all_misspelt_names_are_named_at_once():
    with pytest.raises(SettingsError, match=r"ENROLL_AAA .*ENROLL_ZZZ "):
        check_variables({"ENROLL_ZZZ": "1", "ENROLL_AAA": "1"})


@pytest.mark.parametrize(
    "environ",
    [
        {"ENROLL_URL": "http://x", "ENROLL_API_KEY": "k"},
        {"ENROLL_TEST_POSTGRES_URL": "x"},
        {"ENROLL_XYZZY": ""},
        {"ENROLLXYZZY": "1", "_ENROLL_COMPLETE": "bash_source", "enroll_xyzzy": "1"},
        dict.fromkeys(VARIABLES, "x"),
    ],
)
def test_other_variables_are_left_alone(environ):
    check_variables(environ)


@pytest.mark.parametrize(
    "name",
    [
        *("ENROLL_SERVICE_HOST", "ENROLL_SERVICE_PORT", "ENROLL_SERVICE_PORT_HTTP"),
        *("ENROLL_PORT", "ENROLL_PORT_8000_TCP", "ENROLL_PORT_8000_TCP_ADDR"),
        *("ENROLL_GATEWAY_SERVICE_HOST", "ENROLL_GATEWAY_PORT_8000_TCP_PROTO"),
    ],
)
def test_what_kubernetes_sets_for_a_service_is_no_setting(name):
    check_variables({name: "1", "KUBERNETES_SERVICE_HOST": "10.0.0.1"})
    with pytest.raises(SettingsError, match=name):
        check_variables({name: "1"})


def test_kubernetes_does_not_hide_a_misspelt_name():
    with pytest.raises(SettingsError, match="ENROLL_DATABSE_URL"):
        check_variables({"ENROLL_DATABSE_URL": "x", "KUBERNETES_SERVICE_HOST": "10.0.0.1"})


def test_the_names_that_are_set_are_listed_without_empty_ones():
    environ = {"ENROLL_LOG_LEVEL": "info", "ENROLL_REDIS_URL": "x", "ENROLL_DATA_DIR": ""}

    assert names_set(environ) == ["ENROLL_REDIS_URL", "ENROLL_LOG_LEVEL"]

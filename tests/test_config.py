"""Settings: flags, then environment, then the settings file, then defaults."""

import json
import os
from pathlib import Path

import pytest
from command import run


def settings(folder: Path, *arguments: str, **environment: str) -> dict[str, tuple[str, str]]:
    """Return what `config` shows: value and origin of each setting."""
    done = run(*arguments, "config", "--json", folder=folder, **environment)
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    return {row["setting"]: (row["value"], row["from"]) for row in rows}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return the settings file of a folder, empty."""
    path = tmp_path / "sparkify-bulk.toml"
    path.touch()
    return path


def test_flag_then_environment_then_file_then_default(
    database: str, committed: Path, file: Path
) -> None:
    """Each source gives way to the one before it, in a run as in what config shows."""
    file.write_text(f'dsn = "{database}"\ndata = "{committed}"\nschema = "of_file"\n')
    assert json.loads(run("reload", "--json", folder=file.parent).stdout)["run_id"] == 1
    shown = settings(file.parent)
    assert shown["schema"] == ("of_file", "sparkify-bulk.toml")
    assert shown["retries"] == ("3", "default")
    variable = {"SPARKIFY_BULK_SCHEMA": "of_variable"}
    assert settings(file.parent, **variable)["schema"] == ("of_variable", "SPARKIFY_BULK_SCHEMA")
    run("reload", "--quiet", folder=file.parent, **variable)
    run("reload", "--quiet", "--schema", "of_flag", folder=file.parent, **variable)
    for schema in ("of_file", "of_variable", "of_flag"):
        assert (
            json.loads(run("runs", "--json", "--schema", schema, folder=file.parent).stdout)[
                "run_id"
            ]
            == 1
        )


def test_a_table_is_for_its_command_alone(file: Path) -> None:
    """What stands in a command's table comes before what stands on top, for that command."""
    file.write_text("jobs = 2\n[load]\njobs = 1\n")
    shown = settings(file.parent)
    assert shown["jobs of reload"] == ("2", "sparkify-bulk.toml")
    assert shown["jobs of load"] == ("1", "sparkify-bulk.toml")


def test_commands_below_commands_have_the_settings_too(database: str, file: Path) -> None:
    """The server named on top of the file is the one that `rejects replay` asks."""
    file.write_text(f'dsn = "{database}"\nschema = "music"\n')
    done = run("rejects", "replay", folder=file.parent)
    assert "no star in the schema music" in done.stderr


def test_the_same_name_elsewhere_is_another_setting(file: Path) -> None:
    """The folder of songs on top of the file is no number of songs to the benchmark."""
    file.write_text('songs = "folder"\n')
    done = run("bench", "--output", "/dev/null/nowhere", folder=file.parent)
    assert "can't be made" in done.stderr


def test_all_that_is_wrong_in_the_file_is_named_at_once(file: Path) -> None:
    """Unknown keys and tables, and values of the wrong kind, end any command with 2."""
    file.write_text(
        'jbos = 2\nmax_rejects = 4\nmax-age = "36"\nquiet = 1\njobs = true\nwait = [1]\n'
        '[lod]\n[load]\nrehash = "yes"\n[rejects.replay]\nrunn = 3\n[bench]\ncontender = "floor"\n'
    )
    done = run("runs", folder=file.parent)
    assert done.returncode == 2
    for complaint in (
        "jbos is not a setting (did you mean jobs?)",
        "max_rejects is not a setting (did you mean max-rejects?)",
        "max-age: '36' is an invalid duration",
        "quiet: must be true or false",
        "jobs: can't be True",
        "wait: can't be [1]",
        "[lod] is not a command (did you mean load?)",
        "[load] rehash: must be true or false",
        "[rejects.replay] runn is not a setting (did you mean run?)",
        "[bench] contender: can't be 'floor'",
    ):
        assert complaint in done.stderr


def test_variables_that_are_no_setting_are_named(tmp_path: Path) -> None:
    """Config complains of variables that are misspelt, and of values that can't be, at once."""
    done = run("config", SPARKIFY_BULK_JOBBS="2", SPARKIFY_BULK_WAIT="long", folder=tmp_path)
    assert done.returncode == 2
    assert "SPARKIFY_BULK_JOBBS is not a setting (did you mean SPARKIFY_BULK_JOBS?)" in done.stderr
    assert "wait: 'long' is not a valid float" in done.stderr
    assert done.stderr.count("'long'") == 1
    assert "retries" in done.stdout


def test_config_shows_no_password_and_which_server(tmp_path: Path) -> None:
    """A password in a connection string is masked; without one, what names the server is named."""
    secret = settings(tmp_path, DATABASE_URL="postgresql://me:s3cr3t22@db/music")
    assert secret["dsn"] == ("postgresql://me:***@db/music", "DATABASE_URL")
    assert settings(tmp_path, PGSERVICE="warehouse")["dsn"] == (None, "PGSERVICE")
    assert settings(tmp_path)["dsn"] == (None, "default: the embedded PostgreSQL")


def test_a_file_can_be_named(tmp_path: Path, file: Path) -> None:
    """--config or its variable names the file; one that isn't there is an error."""
    elsewhere = tmp_path / "elsewhere.toml"
    elsewhere.write_text('schema = "elsewhere"\n')
    file.write_text('schema = "here"\n')
    named = settings(tmp_path, "--config", str(elsewhere))
    assert named["schema"] == ("elsewhere", str(elsewhere))
    by_variable = settings(tmp_path, SPARKIFY_BULK_CONFIG=str(elsewhere))
    assert by_variable["schema"] == ("elsewhere", str(elsewhere))
    done = run("--config", "missing.toml", "runs", folder=tmp_path)
    assert done.returncode == 2
    assert "missing.toml can't be read: No such file" in done.stderr


def test_a_file_that_is_no_toml_is_refused(file: Path) -> None:
    """The error says where the text stops being TOML."""
    file.write_text("schema = music\n")
    done = run("runs", folder=file.parent)
    assert done.returncode == 2
    assert "not valid TOML" in done.stderr
    assert "line 1" in done.stderr


@pytest.mark.parametrize("others", ["mode", "owner"])
def test_a_file_that_others_may_have_written_is_not_used(file: Path, others: str) -> None:
    """In the working folder a file must be one's own: it can name a command to run."""
    file.write_text('notify-command = "true"\n')
    if others == "mode":
        file.chmod(0o666)
    elif os.geteuid() == 0:
        os.chown(file, 65534, 65534)
    else:
        pytest.skip("only root can give a file away")
    done = run("runs", folder=file.parent)
    assert done.returncode == 2
    assert "belongs to another user" in done.stderr
    assert run("--config", "sparkify-bulk.toml", "config", folder=file.parent).returncode == 0


def test_how_buckets_are_reached_may_stand_in_the_file(file: Path) -> None:
    """Variables of the environment come first; secrets are refused, and never shown."""
    file.write_text('[cloud]\nAWS_REGION = "eu-west-1"\nAWS_ENDPOINT_URL = "http://minio:9000"\n')
    found = settings(file.parent, AWS_REGION="us-west-2", AWS_SECRET_ACCESS_KEY="s3cr3t22")  # noqa: S106
    assert found["AWS_REGION"] == ("us-west-2", "AWS_REGION")
    assert found["AWS_ENDPOINT_URL"] == ("http://minio:9000", "sparkify-bulk.toml")
    assert found["AWS_SECRET_ACCESS_KEY"] == ("***", "AWS_SECRET_ACCESS_KEY")
    file.write_text('[cloud]\nAWS_SECRET_ACCESS_KEY = "s3cr3t22"\nPATH = "/bin"\nAWS_X = [1]\n')
    done = run("runs", folder=file.parent)
    assert done.returncode == 2
    for complaint in (
        "[cloud] AWS_SECRET_ACCESS_KEY may hold a secret: set it in the environment",
        "[cloud] PATH is not a variable of AWS_, GOOGLE_ or AZURE_, nor SPARKIFY_BULK_REQUESTS",
        "[cloud] AWS_X can't be [1]",
    ):
        assert complaint in done.stderr
    assert "s3cr3t22" not in done.stderr

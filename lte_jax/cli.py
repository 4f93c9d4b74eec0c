"""The `lte` command: parse, call, print. Each command imports what it needs, so that `lte --help` is instant."""

import json
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from lte_jax.records import NoVerdictError

app = typer.Typer(
    help="LTE: reinforcement learning with verifiable rewards that learns from its own failed attempts.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)

WRONG_PATH = (FileNotFoundError, FileExistsError, NotADirectoryError, IsADirectoryError, PermissionError)
Overrides = Annotated[list[str] | None, typer.Argument(help="section.key=value, any number of them")]
JOIN_TIMEOUT_S = 300.0
JoinTimeout = Annotated[
    float | None,
    typer.Option(
        help="with --distributed: seconds to wait for the other processes before this one gives up with exit code 1",
        show_default=f"{JOIN_TIMEOUT_S:g}",
        min=1,
    ),
]


def _path(text: str | Path) -> Path:
    """A path of the command line: no shell expands the `~` of `--run=~/x`."""
    return Path(text).expanduser()


def _place(text: str) -> str:
    """As `_path`, for what may be a bucket or a model's id, too."""
    return os.path.expanduser(text)


ConfigFile = Annotated[Path, typer.Argument(help="YAML file, such as configs/quickstart.yaml", parser=_path)]
Json = Annotated[bool, typer.Option("--json", help="print one JSON object on standard output and nothing else there")]


def _local(folder: Path) -> Path:
    """Refuses a bucket where a folder of a disk is wanted."""
    if str(folder).startswith("gs:"):
        raise typer.BadParameter(f"{folder}: wanted a folder of a disk; only `lte train --run` writes to a bucket")
    return folder


@app.command()
def train(
    config: ConfigFile,
    overrides: Overrides = None,
    run: Annotated[
        str,
        typer.Option(
            help="run folder, on a disk or in a bucket (gs://...); of several processes, one that all see",
            parser=_place,
        ),
    ] = "runs/train",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="say what would run; open no device")] = False,
    change: Annotated[
        bool, typer.Option("--change", help="go on with other settings that change the training; it is written down")
    ] = False,
    distributed: Annotated[bool, typer.Option(help="this process is one of several that train together")] = False,
    join_timeout_s: JoinTimeout = None,
):
    """Trains; the same command continues a stopped run.

    With --distributed, the processes find each other by JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID,
    or as the cluster says (TPU pod, SLURM, Kubernetes, Open MPI).
    """
    from lte_jax import config as settings

    with _alone_in_failure(distributed), _clear_errors():
        resolved = settings.load(config, overrides or [])
        if dry_run:
            from lte_jax.storage.paths import refuse_overlap

            refuse_overlap(run, resolved.model.path)
            with _verifier(resolved) as verifier:
                from lte_jax.run.dry_run import dry_run as say_what_would_run
                from lte_jax.terminal.live import Live

                live = Live()
                say_what_would_run(resolved, verifier, live.say, live.status)
                live.close()
            return
        _keep_programs(f"{run}/cache")
        with _verifier(resolved) as verifier:
            _open_devices(distributed, join_timeout_s)
            from lte_jax.run.processes import is_first
            from lte_jax.run.train import train as run_training
            from lte_jax.terminal.live import Live

            live = Live(every=resolved.log.every, quiet=not is_first(), samples=resolved.log.samples)
            run_training(resolved, run, verifier, live, change)


@app.command()
def study(
    config: ConfigFile,
    overrides: Overrides = None,
    run: Annotated[Path, typer.Option(help="folder of the study", callback=_local, parser=_path)] = Path("runs/study"),
):
    """Compares strategies over seeds from one base; the same command continues a stopped study."""
    from lte_jax import config as settings

    with _clear_errors():
        resolved = settings.load(config, overrides or [])
        from lte_jax.study.jobs import JobError
        from lte_jax.study.run import run_study
        from lte_jax.terminal.live import Live

        try:
            run_study(resolved, run, Live())
        except JobError as error:
            _to_stderr(f"error: {error}\nThe same command continues from here.")
            raise typer.Exit(1) from None
        except KeyboardInterrupt:
            _to_stderr("stopped; the same command continues from here")
            raise typer.Exit(130) from None


@app.command()
def report(
    runs: Annotated[list[str], typer.Argument(help="run folders, or folders of runs such as a study's", parser=_place)],
    output: Annotated[
        str | None,
        typer.Option(help="HTML file; else report.html in the one folder given, or here for several", parser=_place),
    ] = None,
    as_json: Json = False,
):
    """Writes curves, rollouts and settings of one or several runs as one HTML file that works offline."""
    with _clear_errors():
        from lte_jax.report.page.write import write_report

        written = write_report(runs, output or (f"{runs[0]}/report.html" if len(runs) == 1 else "report.html"))
        if as_json:
            print(json.dumps(written))
            return
        n_groups = written["groups"] + written["groups_left_out"]
        print(f"{written['output']}: {written['runs']} runs, {written['bytes'] / 1e6:.1f} MB")
        print(f"  {written['groups']} of {n_groups} groups of rollouts, {written['rescues']} of them rescued")


@app.command()
def warmup(
    config: ConfigFile,
    overrides: Overrides = None,
    run: Annotated[Path, typer.Option(help="folder to make base and data in", callback=_local, parser=_path)] = Path(
        "runs/warmup"
    ),
):
    """Makes the built-in task's problem files and its base model, as a Hugging Face folder."""
    from lte_jax import config as settings

    with _clear_errors():
        resolved = settings.load(config, overrides or [])
        from lte_jax.terminal.live import Live, Pace
        from lte_jax.toy.warmup import make_base

        live, pace = Live(), Pace()
        base = make_base(
            resolved,
            run,
            lambda n, total, loss: live.status(f"warm-up {n}/{total}  loss {loss:.3f}  {pace.left(n, total)}"),
        )
        live.close()
        live.say(f"base model: {base.model}; problems: {base.data}")


@app.command()
def eval(
    model: Annotated[str, typer.Argument(help="Hugging Face folder, run folder or checkpoint", parser=_place)],
    more: Annotated[list[str] | None, typer.Argument(help="more problem files, and section.key=value")] = None,
    benchmarks: Annotated[Path | None, typer.Option(help="problem file; more may follow it", parser=_path)] = None,
    suite: Annotated[Path | None, typer.Option(help="YAML file of benchmarks and sampling", parser=_path)] = None,
    config: Annotated[Path | None, typer.Option(help="YAML file for prompts and sampling", parser=_path)] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            help="folder for samples, problems and summary; a stopped command continues it; of several processes, one "
            "that all see",
            callback=_local,
            parser=_path,
        ),
    ] = None,
    distributed: Annotated[bool, typer.Option(help="as in `lte train`: each process draws its share")] = False,
    join_timeout_s: JoinTimeout = None,
    paper: Annotated[str, typer.Option(help="4b or 8b: the paper's rows for that model beside ours")] = "",
    as_json: Json = False,
):
    """Pass@1 with its interval, unbiased Pass@k, majority vote and length for each benchmark."""
    from lte_jax import config as settings

    with _alone_in_failure(distributed), _clear_errors():
        if (benchmarks is None) == (suite is None):
            raise ValueError("wanted exactly one of --benchmarks FILE and --suite FILE")
        overrides = [word for word in more or [] if "=" in word]
        files = [str(benchmarks), *(word for word in more or [] if "=" not in word)]
        asked = settings.load_suite(suite) if suite else {"benchmarks": [{"path": path} for path in files]}
        if suite and files[1:]:
            raise ValueError(f"--suite names its files itself, got {files[1:]} as well")
        from lte_jax.report.scorecard import scorecard, write_scorecard

        scorecard(model, {}, paper)  # refuses an unknown table before anything is sampled
        resolved, source = _for_model(model, config, overrides, asked)
        _keep_programs(Path.home() / ".cache/lte_jax")
        with _verifier(resolved) as verifier:
            _open_devices(distributed, join_timeout_s)
            from lte_jax.run.evaluate import evaluate_model
            from lte_jax.run.processes import is_first
            from lte_jax.terminal.live import Live

            live = Live(file=sys.stderr, quiet=not is_first())
            live.say(f"settings: {source}")
            metrics, rows = evaluate_model(resolved, verifier, live, output)
            live.close()
            if not is_first():
                return
        if output:
            write_scorecard(output, model, metrics, rows, scorecard(model, metrics, paper))
        print(json.dumps({"model": model, "benchmarks": metrics}) if as_json else scorecard(model, metrics, paper))


@app.command()
def compare(
    first: Annotated[
        Path, typer.Argument(help="evaluation: the folder of `lte eval --output`, a run, or a JSONL", parser=_path)
    ],
    second: Annotated[Path, typer.Argument(help="the one that is compared with it", parser=_path)],
    as_json: Json = False,
):
    """Differences of two evaluations over their common problems, with intervals, and the problems that flipped."""
    with _clear_errors():
        from lte_jax.report.compare import compare as differences
        from lte_jax.report.compare import comparison_text, read_problems

        found = differences(read_problems(first), read_problems(second))
        print(json.dumps(found) if as_json else comparison_text(str(first), str(second), found))


@app.command()
def generate(
    model: Annotated[str, typer.Argument(help="Hugging Face folder, run folder or checkpoint", parser=_place)],
    overrides: Overrides = None,
    prompt: Annotated[str | None, typer.Option(help="one problem")] = None,
    file: Annotated[
        Path | None, typer.Option(help="problem file (JSONL or Parquet); answers are not needed", parser=_path)
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="with --file: JSONL; a stopped command continues it", parser=_path)
    ] = None,
    n: Annotated[int, typer.Option(help="responses per problem", min=1)] = 1,
    config: Annotated[Path | None, typer.Option(help="YAML file for prompts and sampling", parser=_path)] = None,
):
    """Samples responses; a prompt's as text, a file's as JSON lines, as they finish."""
    with _clear_errors():
        if (prompt is None) == (file is None):
            raise ValueError("wanted exactly one of --prompt TEXT and --file FILE")
        if output and not file:
            raise ValueError("--output goes with --file: the response to one --prompt is printed")
        resolved, source = _for_model(model, config, overrides, {})
        _to_stderr(f"settings: {source}")
        _keep_programs(Path.home() / ".cache/lte_jax")
        with _verifier(resolved) as verifier:
            from lte_jax.host.problems import Answers, load_problems
            from lte_jax.records import Problem
            from lte_jax.run.generate import SAMPLE_KEY, sample_settings
            from lte_jax.run.generate import generate as draw
            from lte_jax.run.positions import generation_rows
            from lte_jax.run.session import open_session
            from lte_jax.storage.resumable import Resumable

            problems = load_problems(file, Answers.LEFT_OUT) if file else [Problem("prompt", prompt, "")]
            session = open_session(resolved, generation_rows(resolved), verifier, _to_stderr)
            session.engine.load(session.model.load())
            if not output:
                from lte_jax.terminal.clean import clean

                for row in draw(session, problems, n):
                    # a terminal obeys control characters: JSON spells them, text is shown without
                    line = json.dumps(row, ensure_ascii=sys.stdout.isatty()) if file else clean(row["response"])
                    print(line, flush=True)
                return
            with Resumable(output, sample_settings(session, file, n), SAMPLE_KEY) as written:
                _to_stderr(f"{output}: {len(written.done)} of {len(problems) * n} responses are there")
                for row in draw(session, problems, n, written.done):
                    written.write(row)


@app.command()
def verify(
    file: Annotated[
        Path, typer.Argument(help="JSONL with gold, prediction and, if known, truncated; .gz too", parser=_path)
    ],
    output: Annotated[
        Path, typer.Option(help="JSONL with correct, status, extracted, rule and reason, in order", parser=_path)
    ],
    overrides: Annotated[list[str] | None, typer.Argument(help="verify.key=value, any number of them")] = None,
    workers: Annotated[int, typer.Option(help="worker processes", min=1)] = 2,
    timeout_s: Annotated[float, typer.Option(help="seconds per comparison")] = 2.0,
    examples: Annotated[int, typer.Option(help="show so many rows of each status that is not equal", min=0)] = 0,
    against: Annotated[str | None, typer.Option(help="another verifier to compare with: math-verify")] = None,
    as_json: Json = False,
):
    """Grades lines of {gold, prediction}."""
    from lte_jax import config as settings

    with _clear_errors():
        given = {"verify": {"workers": workers, "timeout_s": timeout_s}}
        resolved = settings.build(given, overrides or [], where="command line")
        from lte_jax.host.verify.against import other_verifier
        from lte_jax.host.verify.files import verify_file
        from lte_jax.host.verify.summary import summary_lines
        from lte_jax.terminal.clean import clean

        other = other_verifier(against) if against else None
        with _bar("rows") as progress:
            summary = verify_file(file, output, examples, other, progress, **resolved.verify.model_dump())
        if as_json:
            print(json.dumps(summary))
        else:
            for line in summary_lines(summary, str(output), against):
                print(clean(line))


@contextmanager
def _bar(unit: str) -> Iterator[Callable[[int, int], None]]:
    """A function of (n_done, n_total) that draws a bar on standard error, where that is a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (BarColumn(), MofNCompleteColumn(), TextColumn(unit), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task(unit, total=None)
        yield lambda n_done, n_total: bar.update(task, completed=n_done, total=n_total)


@app.command()
def config(
    file: Annotated[Path | None, typer.Argument(help="YAML file; its values are shown", parser=_path)] = None,
    overrides: Overrides = None,
):
    """Prints every setting with its default, or a file's value, and its meaning."""
    from lte_jax import config as settings

    with _clear_errors():
        shown = settings.load(file, overrides or []) if file else settings.build({}, overrides or [])
        for name, value, meaning in settings.fields(shown):
            line = json.dumps(value, ensure_ascii=False, default=lambda item: item.model_dump())
            print(f"{name} = {line}\n    {meaning}")


@app.command()
def methods(
    name: Annotated[str | None, typer.Argument(help="one method, with its own settings")] = None,
    as_json: Json = False,
):
    """Lists the methods that a config can name: paper, exact or reconstructed, extra cost, configs."""
    with _clear_errors():
        from lte_jax.run.methods import as_json as all_as_json
        from lte_jax.run.methods import detail_text, table_text

        if as_json:
            print(json.dumps([each for each in all_as_json() if name in (None, each["name"])]))
        else:
            print(detail_text(name) if name else table_text())


@app.command()
def replay(
    folder: Annotated[
        str, typer.Argument(help="RUN/nonfinite/STEP, as a run that stopped has named it", parser=_place)
    ],
    overrides: Overrides = None,
    as_json: Json = False,
):
    """Shows where the numbers of a batch were not finite: its rows, their log-probs, the gradients."""
    from lte_jax.storage.paths import open_path

    with _clear_errors():
        own = open_path(folder).parent.parent / "config.yaml"
        from dataclasses import asdict

        from lte_jax.storage.run_config import load_run

        resolved = load_run(own, _to_stderr, overrides or [])
        from lte_jax.run.replay import replay as look_again

        found = [asdict(finding) for finding in look_again(folder, resolved)]
        if as_json:
            print(json.dumps({"microbatches": found}))
            return
        for index, values in enumerate(found):
            rows, columns = values["shape"]
            print(f"micro-batch {index}: {rows} rows x {columns}, gradient norm {values['gradient_norm']:.4g}")
            for name in ("inputs", "logp", "gradients"):
                if values[name]:
                    print(f"  not finite in {name}: {values[name]}")


@app.command()
def plan(
    config: ConfigFile,
    overrides: Overrides = None,
    target: Annotated[str, typer.Option(help="v5e:8x8, v4, v5p, v6e or tpu7x slices; h200:8, h100:8; cpu:8")] = "cpu:1",
    length: Annotated[int | None, typer.Option(help="tokens of a response; none: the budget", min=1)] = None,
    price: Annotated[float | None, typer.Option(help="of one chip for an hour, for the cost of the run")] = None,
    search: Annotated[bool, typer.Option(help="where it does not fit, look for the nearest setting that does")] = True,
    as_json: Json = False,
):
    """Compiles a run for devices that are not here: memory, transfers, and the best time of each program."""
    from lte_jax import config as settings

    with _clear_errors():
        resolved = settings.load(config, overrides or [])
        from lte_jax.plan.make import make_plan
        from lte_jax.plan.models import architecture, max_positions
        from lte_jax.plan.show import lines
        from lte_jax.plan.targets import parse
        from lte_jax.run.positions import check_positions, training_rows
        from lte_jax.terminal.live import Live

        live = Live(file=sys.stderr)
        arch, device = architecture(resolved.model.path), parse(target)
        check_positions(resolved, training_rows(resolved), max_positions(resolved.model.path), live.say)
        try:
            made = make_plan(resolved, arch, device, length, price, search, live.status)
        finally:
            live.close()
        if as_json:
            print(json.dumps(made))
        else:
            print("\n".join(lines(made)))


@app.command("import-hf")
def import_hf(
    source: Annotated[Path, typer.Argument(help="Hugging Face folder", callback=_local, parser=_path)],
    run: Annotated[
        Path,
        typer.Argument(help="run folder to make: its checkpoint 0 holds the weights", callback=_local, parser=_path),
    ],
):
    """Converts a Hugging Face folder into a checkpoint."""
    with _clear_errors():
        from lte_jax.model_io.checkpoint import import_hf as convert

        convert(source, run)
        print(f"{source} -> {run}")


@app.command("export-hf")
def export_hf(
    model: Annotated[str, typer.Argument(help="run folder or checkpoint", parser=_place)],
    target: Annotated[Path, typer.Argument(help="folder to make", callback=_local, parser=_path)],
    dtype: Annotated[str, typer.Option(help="bfloat16 or float32")] = "bfloat16",
):
    """Writes a Hugging Face folder that transformers loads, tokenizer included."""
    with _clear_errors():
        from lte_jax.model_io.checkpoint import export_hf as convert

        convert(model, target, dtype)
        print(f"{model} -> {target}")


@contextmanager
def _clear_errors() -> Iterator[None]:
    """What our own code refuses, and a wrong path, becomes one line and exit code 2, which says that another start
    would not help; what else a library raises, and what a full or failing disk does, keeps its stack trace."""
    try:
        yield
    except typer.Exit:  # a RuntimeError to Python: a command that has said why it ends
        raise
    except NoVerdictError as error:  # perhaps the machine's fault: another start may help
        _to_stderr(f"error: {error}")
        raise typer.Exit(1) from None
    except WRONG_PATH as error:
        _refuse(f"{error.filename}: {error.strerror}" if error.filename else str(error))
    except (ValueError, RuntimeError) as error:
        raised_in = Path(traceback.extract_tb(error.__traceback__)[-1].filename)
        if Path(__file__).parent not in raised_in.parents:
            raise
        _refuse(str(error))


@contextmanager
def _alone_in_failure(distributed: bool) -> Iterator[None]:
    """One of several processes that fails ends at once and with its own exit code. What is no failure of its own (75
    and 130: all stop together) keeps the usual end, at which they wait for each other."""
    try:
        yield
    except BaseException as error:
        code = getattr(error, "exit_code", getattr(error, "code", 1))
        if distributed and code not in (0, 75, 130):
            from lte_jax.run.processes import fail

            fail(code if isinstance(code, int) else 1)
        raise


def _refuse(what: str) -> NoReturn:
    print(f"error: {what}", file=sys.stderr)
    raise typer.Exit(2) from None


def _verifier(config):
    """Starts the verifier's workers: before jax is imported, since a process with jax may not be forked."""
    from lte_jax.host.verify import Verifier

    return Verifier(config.reward, config.reward_args, **config.verify.model_dump())


def _open_devices(distributed: bool, join_timeout_s: float | None) -> None:
    """Imports jax. Ends the command where the run's other processes do not come."""
    from lte_jax.run.processes import start
    from lte_jax.run.roll_call import Absent

    if join_timeout_s is not None and not distributed:
        raise ValueError(f"--join-timeout-s {join_timeout_s:g} without --distributed: one process waits for no others")
    try:
        start(distributed, join_timeout_s or JOIN_TIMEOUT_S, _to_stderr)
    except Absent as error:
        _to_stderr(f"error: {error}")
        raise typer.Exit(1) from None  # another start may help


def _keep_programs(folder: Path | str) -> None:
    """Compiled programs outlive the process, unless the user has said where else: called before jax is imported."""
    place = str(folder) if "://" in str(folder) else str(Path(folder).absolute())
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", place)


def _for_model(model: str, config: Path | None, overrides, evaluation: dict):
    """(the config, where it is from): a file's, else that of the run which the model is or is a checkpoint of, else the
    defaults, each with the evaluation's own settings and the overrides."""
    from lte_jax import config as settings
    from lte_jax.storage.paths import open_path
    from lte_jax.storage.run_config import load_run

    folder = open_path(model)
    run = folder.parent.parent if folder.parent.name == "checkpoints" else folder
    own = run / "config.yaml"
    source = config or (own if own.is_file() else None)
    if config:
        base = settings.load(config)
    else:
        base = load_run(own, _to_stderr) if source else settings.Config()
    values = base.model_dump()
    if values["model"]["path"] != model:
        values["model"] |= {"path": model, "revision": ""}  # the revision is the starting model's
    values["eval"] |= evaluation
    return settings.build(values, overrides or [], where=str(config or "command line")), source or "the defaults"


def _to_stderr(text: str) -> None:
    print(text, file=sys.stderr)


if __name__ == "__main__":
    app()

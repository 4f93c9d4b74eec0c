"""The `lte` command: parse, call, print. Each command imports what it needs, so that `lte --help` is instant."""

import json
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    help="LTE: reinforcement learning with verifiable rewards that learns from its own failed attempts.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)

Overrides = Annotated[list[str] | None, typer.Argument(help="section.key=value, any number of them")]
ConfigFile = Annotated[Path, typer.Argument(help="YAML file, such as configs/quickstart.yaml")]
Json = Annotated[bool, typer.Option("--json", help="print one JSON object on standard output and nothing else there")]


@app.command()
def train(
    config: ConfigFile,
    overrides: Overrides = None,
    run: Annotated[Path, typer.Option(help="run folder; of several processes, one that all see")] = Path("runs/train"),
    distributed: Annotated[bool, typer.Option(help="this process is one of several that train together")] = False,
):
    """Trains; the same command continues a stopped run.

    With --distributed, the processes find each other by JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID,
    or as the cluster says (TPU pod, SLURM, Kubernetes, Open MPI).
    """
    from lte_jax import config as settings

    with _clear_errors():
        resolved = settings.load(config, overrides or [])
        _keep_programs(run / "cache")
        with _verifier(resolved) as verifier:
            from lte_jax.processes import is_first, join
            from lte_jax.report.live import Live
            from lte_jax.train import train as run_training

            if distributed:
                join()
            live = Live(every=resolved.log.every, quiet=not is_first(), samples=resolved.log.samples)
            run_training(resolved, run, verifier, live)


@app.command()
def study(
    config: ConfigFile,
    overrides: Overrides = None,
    run: Annotated[Path, typer.Option(help="folder of the study")] = Path("runs/study"),
):
    """Compares strategies over seeds from one base; the same command continues a stopped study."""
    from lte_jax import config as settings

    with _clear_errors():
        resolved = settings.load(config, overrides or [])
        from lte_jax.jobs import JobError
        from lte_jax.report.live import Live
        from lte_jax.study import run_study

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
    runs: Annotated[list[Path], typer.Argument(help="run folders, or folders of runs such as a study's")],
    output: Annotated[
        Path | None, typer.Option(help="HTML file; else report.html in the one folder given, or here for several")
    ] = None,
    as_json: Json = False,
):
    """Writes curves, rollouts and settings of one or several runs as one HTML file that works offline."""
    with _clear_errors():
        from lte_jax.report.page.write import write_report

        written = write_report(runs, output or (runs[0] if len(runs) == 1 else Path()) / "report.html")
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
    run: Annotated[Path, typer.Option(help="folder to make base and data in")] = Path("runs/warmup"),
):
    """Makes the built-in task's problem files and its base model, as a Hugging Face folder."""
    from lte_jax import config as settings

    with _clear_errors():
        resolved = settings.load(config, overrides or [])
        from lte_jax.report.live import Live, Pace
        from lte_jax.warmup import make_base

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
    model: Annotated[str, typer.Argument(help="Hugging Face folder, run folder or checkpoint")],
    benchmarks: Annotated[Path, typer.Option(help="problem file; more may follow it")],
    more: Annotated[list[str] | None, typer.Argument(help="more problem files, and section.key=value")] = None,
    config: Annotated[Path | None, typer.Option(help="YAML file for prompts and sampling")] = None,
    output: Annotated[Path | None, typer.Option(help="JSONL file for one row per problem")] = None,
    as_json: Json = False,
):
    """Prints Pass@1 and unbiased Pass@k for each file."""
    with _clear_errors():
        overrides = [word for word in more or [] if "=" in word]
        files = [str(benchmarks), *(word for word in more or [] if "=" not in word)]
        resolved = _for_model(model, config, overrides, {"benchmarks": [{"path": path} for path in files]})
        _keep_programs(Path.home() / ".cache/lte_jax")
        with _verifier(resolved) as verifier:
            from lte_jax.evaluate import evaluate, open_benchmarks
            from lte_jax.session import open_session

            session = open_session(resolved, verifier, _to_stderr)
            opened = open_benchmarks(session, _to_stderr)
            session.engine.load(session.model.load())
            metrics, rows = evaluate(session, opened)
        if output:
            output.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
        if as_json:
            print(json.dumps({"model": model, "benchmarks": metrics}))
        else:
            for name, values in metrics.items():
                print(name)
                for key, value in values.items():
                    print(f"  {key:16} {value:.4f}" if isinstance(value, float) else f"  {key:16} {value}")


@app.command()
def generate(
    model: Annotated[str, typer.Argument(help="Hugging Face folder, run folder or checkpoint")],
    overrides: Overrides = None,
    prompt: Annotated[str | None, typer.Option(help="one problem")] = None,
    file: Annotated[Path | None, typer.Option(help="problem file (JSONL or Parquet); answers are not needed")] = None,
    output: Annotated[Path | None, typer.Option(help="with --file: JSONL; a stopped command continues it")] = None,
    n: Annotated[int, typer.Option(help="responses per problem", min=1)] = 1,
    config: Annotated[Path | None, typer.Option(help="YAML file for prompts and sampling")] = None,
):
    """Samples responses; a prompt's as text, a file's as JSON lines, as they finish."""
    with _clear_errors():
        if (prompt is None) == (file is None):
            raise ValueError("wanted exactly one of --prompt TEXT and --file FILE")
        if output and not file:
            raise ValueError("--output goes with --file: the response to one --prompt is printed")
        resolved = _for_model(model, config, overrides, {})
        _keep_programs(Path.home() / ".cache/lte_jax")
        with _verifier(resolved) as verifier:
            from lte_jax.generate import Output
            from lte_jax.generate import generate as draw
            from lte_jax.host.problems import load_problems
            from lte_jax.records import Problem
            from lte_jax.session import open_session

            problems = load_problems(file, with_answers=False) if file else [Problem("prompt", prompt, "")]
            session = open_session(resolved, verifier, _to_stderr)
            session.engine.load(session.model.load())
            if not output:
                from lte_jax.report.clean import clean

                for row in draw(session, problems, n):
                    # a terminal obeys control characters: JSON spells them, text is shown without
                    spelled = json.dumps(row, ensure_ascii=sys.stdout.isatty()) if file else clean(row["response"])
                    print(spelled, flush=True)
                return
            with Output(output, resolved, file, n) as written:
                _to_stderr(f"{output}: {len(written.done)} of {len(problems) * n} responses are there")
                for row in draw(session, problems, n, written.done):
                    written.write(row)


@app.command()
def verify(
    file: Annotated[Path, typer.Argument(help="JSONL with gold and prediction")],
    output: Annotated[Path, typer.Option(help="JSONL with correct, status and extracted, in order")],
    overrides: Annotated[list[str] | None, typer.Argument(help="verify.key=value, any number of them")] = None,
    workers: Annotated[int, typer.Option(help="worker processes", min=1)] = 2,
    timeout_s: Annotated[float, typer.Option(help="seconds per comparison")] = 2.0,
    as_json: Json = False,
):
    """Grades lines of {gold, prediction}."""
    from lte_jax import config as settings

    with _clear_errors():
        given = {"verify": {"workers": workers, "timeout_s": timeout_s}}
        resolved = settings.build(given, overrides or [], where="command line")
        from lte_jax.host.verify.files import verify_file

        summary = verify_file(file, output, **resolved.verify.model_dump())
        if as_json:
            print(json.dumps(summary))
        else:
            print(f"{summary['correct']} of {summary['n']} correct in {summary['seconds']:.1f} s -> {output}")
            print("  ".join(f"{status} {n}" for status, n in summary["by_status"].items()))


@app.command()
def config(
    file: Annotated[Path | None, typer.Argument(help="YAML file; its values are shown")] = None,
    overrides: Overrides = None,
):
    """Prints every setting with its default, or a file's value, and its meaning."""
    from lte_jax import config as settings

    with _clear_errors():
        shown = settings.load(file, overrides or []) if file else settings.build({}, overrides or [])
        for name, value, meaning in settings.fields(shown):
            spelled = json.dumps(value, ensure_ascii=False, default=lambda item: item.model_dump())
            print(f"{name} = {spelled}\n    {meaning}")


@app.command("import-hf")
def import_hf(
    source: Annotated[Path, typer.Argument(help="Hugging Face folder")],
    run: Annotated[Path, typer.Argument(help="run folder to make: its checkpoint 0 holds the weights")],
):
    """Converts a Hugging Face folder into a checkpoint."""
    with _clear_errors():
        from lte_jax.checkpoint import import_hf as convert

        convert(source, run)
        print(f"{source} -> {run}")


@app.command("export-hf")
def export_hf(
    model: Annotated[Path, typer.Argument(help="run folder or checkpoint")],
    target: Annotated[Path, typer.Argument(help="folder to make")],
    dtype: Annotated[str, typer.Option(help="bfloat16 or float32")] = "bfloat16",
):
    """Writes a Hugging Face folder that transformers loads, tokenizer included."""
    with _clear_errors():
        from lte_jax.checkpoint import export_hf as convert

        convert(model, target, dtype)
        print(f"{model} -> {target}")


@contextmanager
def _clear_errors() -> Iterator[None]:
    """What our own code refuses becomes one line and exit code 2; what a library raises keeps its stack trace."""
    try:
        yield
    except (ValueError, RuntimeError, FileNotFoundError) as error:
        raised_in = Path(traceback.extract_tb(error.__traceback__)[-1].filename)
        if Path(__file__).parent not in raised_in.parents and not isinstance(error, FileNotFoundError):
            raise
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(2) from None


def _verifier(config):
    """Starts the verifier's workers: before jax is imported, since a process with jax may not be forked."""
    from lte_jax.host.verify import Verifier

    return Verifier(config.reward, **config.verify.model_dump())


def _keep_programs(folder: Path) -> None:
    """Compiled programs outlive the process, unless the user has said where else: called before jax is imported."""
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(folder.absolute()))


def _for_model(model: str, config: Path | None, overrides, evaluation: dict):
    """The config of an evaluation: a file's, else that of the run which the model is or is a checkpoint of, else the
    defaults."""
    from lte_jax import config as settings

    folder = Path(model).absolute()
    run = folder.parent.parent if folder.parent.name == "checkpoints" else folder
    own = run / "config.yaml"
    source = config or (own if own.is_file() else None)
    base = settings.load(source) if source else settings.Config()
    _to_stderr(f"settings: {source or 'the defaults'}")
    values = base.model_dump()
    values["model"]["path"] = model
    values["eval"] |= evaluation
    return settings.build(values, overrides or [], where=str(config or "command line"))


def _to_stderr(text: str) -> None:
    print(text, file=sys.stderr)


if __name__ == "__main__":
    app()

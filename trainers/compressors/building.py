"""Builds a compressor from its spec; loads torch."""

from __future__ import annotations

from trainers.compressors.interface import Compressor
from trainers.compressors.journal import JournaledTeacher
from trainers.compressors.measure import Measure, load_measure
from trainers.compressors.rewrite import Rewrite
from trainers.compressors.scorer import Scorer
from trainers.compressors.spec import CompressorSpec
from trainers.compressors.steps import Steps
from trainers.compressors.targets import CompressStep
from trainers.compressors.tokens import Tokens
from trainers.compressors.truncated import Truncated
from trainers.process import default_device, set_up_process
from trainers.teachers.local_teacher import LocalTeacher
from trainers.teachers.sampling import LocalModel
from trainers.teachers.server_teacher import ServerTeacher
from trainers.teachers.teacher import Teacher


def build_step(spec: CompressorSpec) -> CompressStep:
    """The step of the pipeline that compresses, in a process that is set up for it.

    Raises:
        ValueError: a model cannot be had or used.
    """
    set_up_process(threads=spec.threads)
    compressor, measure = _compressor(spec)
    return CompressStep(compressor=compressor, cuts=spec.cuts, count=measure.count)


def _compressor(spec: CompressorSpec) -> tuple[Compressor, Measure]:
    if spec.scorer is not None and spec.method in ("steps", "tokens"):
        scorer = Scorer.load(spec.scorer, cache_dir=spec.cache_dir, device=default_device())
        made = Steps(scorer, signal=spec.signal) if spec.method == "steps" else Tokens(scorer)
        return made, scorer.measure
    measure = load_measure(spec.tokenizer)
    if spec.teacher is None:
        return Truncated(measure, matched=spec.matched), measure
    return Rewrite(_teacher(spec, spec.teacher), measure, attempts=spec.attempts), measure


def _teacher(spec: CompressorSpec, described: ServerTeacher | LocalModel) -> Teacher:
    teacher = described if isinstance(described, ServerTeacher) else LocalTeacher(described)
    if spec.journal is None:
        return teacher
    sampling = described.sampling
    identity = f"{described.model}\0{sampling.temperature}\0{sampling.top_p}\0{sampling.max_tokens}\0{sampling.seed}"
    return JournaledTeacher(teacher, spec.journal, identity=identity)

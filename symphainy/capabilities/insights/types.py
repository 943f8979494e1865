"""What the intents of insights take and give."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class QueryData(BaseModel):
    model_config = ConfigDict(extra="forbid")

    query: str = Field(min_length=1, max_length=2000, description="What to look for, in plain words.")
    parsed_file_ids: list[Annotated[str, Field(min_length=1, max_length=128)]] | None = Field(
        None, min_length=1, max_length=500, description="Look in these only. Absent: in everything that is READY."
    )
    top_k: int = Field(5, ge=1, le=50, description="Passages at most.")


class FoundPassage(BaseModel):
    """An exact span of a source, read again from it before it is answered."""

    text: str = Field(description="Exactly as it stands there.")
    score: float = Field(description="Higher is better; comparable within one answer only.")
    bm25_rank: int | None = Field(description="Its place by its words, from 1.")
    vector_rank: int | None = Field(description="Its place by its meaning, from 1.")
    similarity: float | None = Field(description="Cosine to the question, where vectors were used.")
    parsed_file_id: str = Field(description="The parsed content it was found in.")
    file_id: str = Field(description="The file it stands in.")
    filename: str = Field(description="The file's name.")
    position: dict[str, Any] = Field(
        description="`char_start` and `char_end` in the page of a PDF, or in the decoded text of any other file; with "
        "`page`, `row` and `row_end`, `line` and `line_end`, `byte_start` and `byte_end`, `pointer`, `section` where "
        "the format has them. Pages, rows and lines count from 1."
    )


class FoundData(BaseModel):
    query: str = Field(description="The question.")
    method: Literal["bm25", "bm25+vectors"] = Field(
        description="By words alone; or by words and meaning, fused by reciprocal rank."
    )
    model: str | None = Field(description="The sentence model, where vectors were used.")
    note: str | None = Field(description="Why vectors were not used, where there are some.")
    passages: list[FoundPassage] = Field(description="Best first.")
    mismatches: int = Field(
        description="Passages of the index that were left out, because their source does not say so any more."
    )

from pydantic import BaseModel

from symphainy.capability import Capability, ExecutionContext, IntentResult, intent


class CountWords(BaseModel):
    text: str


class WordCount(BaseModel):
    words: int


class Words(Capability):
    name = "words"
    description = "Counts words."

    @intent("count_words", result=WordCount, artifacts=("word_count",))
    async def count_words(self, ctx: ExecutionContext, params: CountWords) -> IntentResult:
        """Count the words of a text."""
        words = await ctx.step("count", lambda: len(params.text.split()))
        report = await ctx.state_surface.register_artifact(
            artifact_type="word_count", semantic_payload={"words": words}
        )
        return IntentResult(result=WordCount(words=words), artifacts={"report": report})

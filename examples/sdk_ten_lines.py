"""Take a file in, and ask: `python examples/sdk_ten_lines.py URL TOKEN FILE QUESTION`."""

import asyncio
import sys

from symphainy.sdk import ExperienceSDK, completed


async def main(url: str, token: str, path: str, question: str) -> None:
    async with ExperienceSDK.connect(url, token=token) as sdk:
        session_id = (await sdk.create_session()).session_id
        sent = await sdk.upload(path, session_id=session_id)
        file = completed(await sdk.wait(sent.execution_id, timeout_s=60)).result
        keep = {"file_id": file["file_id"], "boundary_contract_id": file["boundary_contract_id"]}
        await sdk.run("save_materialization", keep, session_id=session_id)
        await sdk.run("parse_content", {"file_id": file["file_id"]}, session_id=session_id)
        found = await sdk.run("query_data", {"query": question}, session_id=session_id)
        print(*found.result["passages"], sep="\n")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))

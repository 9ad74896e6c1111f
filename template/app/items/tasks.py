"""What is done with items later."""

# {%- if auth +%}
# {% endif +%}
# {% if auth %}
from app.auth.delegates import act_for

# {%- endif +%}
from app.items.repository import ItemRepository
from app.items.schemas import ItemReport
from app.tasks import Run, task


@task("items.report", queue="reports", reads=True)
async def write_report(run: Run) -> ItemReport:
    """Add up the items of whoever has ordered it."""
    number = cents = 0
    async with run.reading() as session:
        # {% if auth %}
        await act_for(session, run.principal_id, "items:read")
        # {% endif %}
        items = ItemRepository(session)
        expected = await items.count()
        async for rows in (await items.lines()).partitions():
            number += len(rows)
            cents += sum(row.price_cents for row in rows)
            await run.progress(min(100 * number // max(expected, 1), 99))
    return ItemReport(items=number, total_cents=cents)

"""A merge plan in few lines: what follows a pattern is said in one."""

from itertools import groupby

from tdmlib.linear import MergePlan

Node = tuple[int, int, list]  # (i, j, what it merges, noisiest first)


def outline(plans: tuple[MergePlan, ...], lines: int) -> str:
    """Trees as indented text, the last merge first, the noisiest plan on top.

    `MergePlan.outline` gives every merge a line. Here teacher steps that are merged at once stand
    behind their merge, and so do those that one merge after another adds at the same end.
    """
    out, pending = [], [(0, [_tree(plan)]) for plan in plans]
    while pending:
        depth, run = pending.pop()
        if len(out) == lines:
            return "\n".join([*out, f"… ({sum(len(plan.merges) for plan in plans)} merges in all)"])
        (i, j, parts), text, inside = run[0], "", []
        if not parts:
            text = _steps(run)
        else:
            added, inner = _chain(run[0])
            text = f"merge ({i}, {j}]"
            if not any(part[2] for part in parts):
                text += f"   {_steps(parts)}"
            elif len(added) > 1:
                text += f"   {_steps(added)}, one by one, onto"
                inside = [[inner]]
            else:
                inside = [list(group) for _, group in groupby(parts, lambda p: p[2] and p)]
        out.append("  " * depth + text)
        pending += [(depth + 1, group) for group in reversed(inside)]
    return "\n".join(out)


def _tree(plan: MergePlan) -> Node:
    stack: list[Node] = []
    for i, j, k in plan.nodes():
        cut = len(stack) - k
        stack[cut:] = [(i, j, stack[cut:])]
    return stack[0]


def _steps(run: list[Node]) -> str:
    first, last = run[0][1], run[-1][1]
    return f"A_{first}" if first == last else f"A_{first} … A_{last}"


def _chain(node: Node) -> tuple[list[Node], Node]:
    """The steps that merges of two add at one end, in the order of training, and what they find."""
    added, end = [], None
    while len(parts := node[2]) == 2:
        single = [not part[2] for part in parts]
        if sum(single) != 1 or end not in (None, single.index(True)):
            break
        end = single.index(True)
        added.append(parts[end])
        node = parts[1 - end]
    return added[::-1], node

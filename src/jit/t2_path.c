/* From the tree of paths to the pieces of a trace. */
#include "jit/t2.h"

#include <Zydis/Mnemonic.h>

enum {
    ARM_OF = 12,    /* an arm is taken in one of so many samples, at least; */
    ARM_OF_WIDE = 60, /* or where branches go many ways */
    ARMS_INSNS = 1500 /* of all arms */
};

/* Another way that a path goes: to a node, or 0: to the head. */
struct way {
    unsigned from, to, count;
};

struct layout {
    struct t2_request *q;
    unsigned insns; /* so far */
    unsigned least; /* samples that an arm is worth */
    struct way ways[T2_NODES];
    unsigned way_count;
};

/* Can a guard send control elsewhere, when the last instruction of the block
 * does? is_end: nothing of the piece follows. */
static bool has_guard(const struct block_code *k, bool is_end)
{
    const struct insn *last = &k->insns[k->count - 1];
    if (last->cls != CLASS_BRANCH || last->mnemonic == ZYDIS_MNEMONIC_CALL)
        return false;
    if (last->mnemonic == ZYDIS_MNEMONIC_RET || last->form != FORM_I)
        return !is_end;
    return last->mnemonic != ZYDIS_MNEMONIC_JMP;
}

static void append(struct layout *l, unsigned node, unsigned piece)
{
    struct t2_request *q = l->q;
    struct t2_node *n = &q->nodes[node];
    uint64_t rip = n->rip;
    q->starts[q->block_count] = rip;
    q->first[q->block_count] = l->insns;
    q->blocks[q->block_count++] = n->block;
    for (unsigned k = 0; k < n->block->count; k++) {
        struct t2_insn *i = &q->insns[l->insns++];
        i->i = n->block->insns[k];
        i->original = &n->block->insns[k];
        i->rip = rip;
        rip += i->i.len;
        i->next = rip;
    }
    n->piece = piece;
    n->last = l->insns - 1;
}

/* The way that most paths take from a node: *to as in struct way. False: they
 * end there. */
static bool best_way(const struct layout *l, unsigned node, unsigned *to,
                     uint64_t *end)
{
    const struct t2_node *nodes = l->q->nodes, *n = &nodes[node];
    unsigned best = n->backs, left = n->count - n->backs;
    *to = 0;
    *end = n->end;
    for (unsigned k = n->child; k; k = nodes[k].sibling) {
        if (nodes[k].is_excluded) {
            *end = nodes[k].rip;
            continue;
        }
        left -= nodes[k].count < left ? nodes[k].count : left;
        if (nodes[k].count > best) {
            best = nodes[k].count;
            *to = k;
        }
    }
    return best >= l->least && best >= left;
}

static void note_ways(struct layout *l, unsigned node, bool is_end, unsigned but)
{
    const struct t2_node *nodes = l->q->nodes, *n = &nodes[node];
    if (!has_guard(n->block, is_end))
        return;
    if (n->backs >= l->least && (is_end || but) && l->way_count < T2_NODES)
        l->ways[l->way_count++] = (struct way){node, 0, n->backs};
    for (unsigned k = n->child; k; k = nodes[k].sibling)
        if (k != but && !nodes[k].is_excluded && nodes[k].count >= l->least &&
            l->way_count < T2_NODES)
            l->ways[l->way_count++] = (struct way){node, k, nodes[k].count};
}

static bool has_room(const struct layout *l, unsigned node, unsigned most)
{
    const struct t2_request *q = l->q;
    return l->insns + q->nodes[node].block->count <= most &&
           q->block_count < T2_BLOCKS_MAX;
}

/* Follow the most frequent way from a node on. */
static void lay_piece(struct layout *l, unsigned piece, unsigned node,
                      unsigned most)
{
    struct t2_request *q = l->q;
    struct t2_piece *p = &q->pieces[piece];
    for (;;) {
        unsigned to;
        uint64_t end;
        append(l, node, piece);
        bool goes_on = best_way(l, node, &to, &end);
        bool is_end = !goes_on || (to && !has_room(l, to, most));
        struct t2_insn *last = &q->insns[l->insns - 1];
        if (is_end && to && goes_on)
            end = q->nodes[to].rip;
        if (last->i.cls != CLASS_NORMAL)
            last->next = is_end ? end : to ? q->nodes[to].rip : q->trace->head;
        note_ways(l, node, is_end, goes_on ? to : 0);
        p->is_back = !is_end && !to;
        if (is_end || !to)
            break;
        node = to;
    }
    p->count = l->insns - p->first;
}

static unsigned weight_of(const struct t2_request *q, unsigned count)
{
    unsigned weight = count * 16 / q->samples;
    return weight > 16 ? 16 : weight;
}

static void lay_arm(struct layout *l, struct way way, unsigned most)
{
    struct t2_request *q = l->q;
    struct t2_node *from = &q->nodes[way.from];
    struct t2_piece *p = &q->pieces[q->piece_count];
    *p = (struct t2_piece){.first = l->insns,
                           .at = from->last,
                           .parent = (uint8_t)from->piece,
                           .weight = (uint8_t)weight_of(q, way.count),
                           .is_back = true,
                           .start = q->trace->head};
    from->piece = q->piece_count; /* the next one is tried behind this */
    q->piece_count++;
    if (!way.to)
        return;
    p->start = q->nodes[way.to].rip;
    lay_piece(l, q->piece_count - 1, way.to, most);
}

/* The most frequent of the ways that are left. */
static struct way take_way(struct layout *l)
{
    unsigned best = 0;
    for (unsigned n = 1; n < l->way_count; n++)
        if (l->ways[n].count > l->ways[best].count)
            best = n;
    struct way way = l->ways[best];
    l->ways[best] = l->ways[--l->way_count];
    return way;
}

void t2_lay_out(struct t2_request *q, unsigned insns_max)
{
    unsigned of = q->is_wide ? ARM_OF_WIDE : ARM_OF;
    struct layout l = {.q = q, .least = (q->samples + of - 1) / of};
    unsigned most = insns_max;
    q->block_count = 0;
    q->piece_count = 1;
    q->pieces[0] = (struct t2_piece){.weight = 16, .start = q->trace->head};
    lay_piece(&l, 0, 0, most);
    q->insn_count = l.insns;
    q->is_loop = q->pieces[0].is_back;
    most = l.insns + ARMS_INSNS;
    most = most < T2_INSNS_MAX ? most : T2_INSNS_MAX;
    while (l.way_count && q->piece_count < T2_PIECES_MAX) {
        struct way way = take_way(&l);
        if (!way.to || has_room(&l, way.to, most))
            lay_arm(&l, way, most);
    }
}

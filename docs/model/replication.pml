/*
 * The protocol by which three members keep one log: views, leases, prepare, commit, reads that wait, crash, wiped
 * disks, the end of leases, joining. One process takes one atomic step of anybody at a time, so that every order of
 * steps is looked at. What it abstracts, and how to run it: README.md beside it.
 *
 * Bounds: MUTATIONS (1..3), EPOCHS, WIPES, RESTARTS. Each name in "Rules" takes one rule out when it is defined; all but
 * PENDING_READ, which adds reads that stay under way while others act.
 */
#ifndef MUTATIONS
#define MUTATIONS 2
#endif
#ifndef EPOCHS
#define EPOCHS 3
#endif
#ifndef WIPES
#define WIPES 1
#endif
#ifndef RESTARTS
#define RESTARTS 1
#endif

/* A log is one byte: entry i (from 1) is the number of its mutation, in bits 2i-2 and 2i-1; 0 after the last. A
 * mutation gets one entry at most, so that the number says what a hash over the whole chain says. */
#define PREFIX(log, n) ((log) & ((1 << (2 * (n))) - 1))
#define AT(log, i) (((log) >> (2 * ((i) - 1))) & 3)
#define LENGTH(log) (((log) != 0) + ((log) >= 4) + ((log) >= 16))
#define BEGINS(log, with) (PREFIX(log, LENGTH(with)) == (with))

/* A view is one byte: who is in sync (3 bits), with which of its stores (3 bits), and who is primary (2 bits). */
#define LISTS(view, m) (((view) >> (m)) & 1)
#define STORE(view, m) (((view) >> (3 + (m))) & 1)
#define PRIMARY(view) ((view) >> 6)
#define SIZE(view) (LISTS(view, 0) + LISTS(view, 1) + LISTS(view, 2))
#define VIEW(members, stores, primary) ((members) | ((stores) << 3) | ((primary) << 6))
#define MEMBERS(view) ((view) & 7)
#define STORES(view) (((view) >> 3) & 7)

#ifdef STORES_BY_NUMBER /* rule out: a member is a store, not an instance number */
#define IS_MEMBER(view, m) (LISTS(view, m))
#else
#define IS_MEMBER(view, m) (LISTS(view, m) && STORE(view, m) == store[m])
#endif

/* What member m, with its store s, has said in epoch e to be prepared: a message that arrives whenever it is read. */
#define SAID(e, m, s) said[((e) * 3 + (m)) * 2 + (s)]

/* The view service: what it has written, which outlives it. */
byte now = 1;            /* the present epoch */
byte view[EPOCHS + 1];   /* the view of each epoch that somebody may still go by */
byte restarts = 0;
#ifdef ANNOUNCED_FIRST
byte written = 1;        /* the epoch in its file */
#endif
#ifdef LEASES_FORGOTTEN
bit fresh = 0;           /* it has just started, and drops without waiting */
#endif
#ifdef PROPOSAL_GIVEN_UP
byte sent = 0;           /* epoch * 8 + store * 4 + joiner + 1 of a proposal that it has not read */
#endif

/* Members, on disk. */
byte disk[3];            /* the log as a crash leaves it */
bit store[3];            /* which store: 0 the founding one, 1 the one after a wipe */
byte wipes = 0;

/* Members, in memory. */
byte epoch[3];           /* that it acts by; 0: the process is gone */
byte own[3];             /* the view of that epoch */
bit lease[3];            /* holds a lease of its epoch that has not run out */
byte log[3];             /* with entries and cuts that are not on the disk yet */
byte committed[3];
byte proposed[3];        /* primary: joiner + 1 (and 4 for its second store) that it counts as required; 0: none */

/* Messages between members that may be read late. */
byte said[(EPOCHS + 1) * 6];

/* Clients. */
byte submitted = 0;      /* mutations submitted so far */
#ifdef PENDING_READ
byte reader = 0;         /* member + 1 of a read that waits; 0: none */
byte awaited, floor;     /* the index that it waits for; what was shown before it began */
#endif

/* Ghosts: seen by the properties alone. */
byte shown = 0;          /* the log as far as anybody was shown it, by an acknowledgement or by a read */
byte denied = 0;         /* bit k: mutation k was said to certainly not have happened */


/* The properties. Each bit says that one does not hold; the name is what `spin` prints. */
bit acknowledged_lost;   /* what was acknowledged or shown is not on the disk of a member of the present view */
bit stale_read;          /* a read does not show what was acknowledged or shown before it began */
bit order_changed;       /* an index that was acknowledged or shown is committed with something else */
bit two_commit;          /* one epoch has two primaries that commit */
bit denied_stands;       /* what was said to certainly not have happened is committed */
bit committed_twice;     /* one submission is committed at two places */
bit on_one_disk;         /* what is answered is on one disk only */
bit committed_cut;       /* a member is told to cut what it knows to be committed */
#define HOLDS_ALWAYS(broken, holds) broken = !(holds); assert(!broken)

#define LIVES(m) (epoch[m] != 0)
#define LEADS(m) (LIVES(m) && PRIMARY(own[m]) == m && IS_MEMBER(own[m], m))
/* m and the primary of its view, whom it hears, go by the same epoch. */
#define FOLLOWS(m) (LIVES(m) && PRIMARY(own[m]) != m && LEADS(PRIMARY(own[m])) && epoch[PRIMARY(own[m])] == epoch[m])
#define SERVES(m) (LIVES(m) && lease[m] && IS_MEMBER(own[m], m))
#define LEADER(m) PRIMARY(own[m])

/* An acknowledged or shown mutation is in the log, on the disk, of every member of the present view. */
#define HOLDS(m) (!(LISTS(view[now], m) && STORE(view[now], m) == store[m]) || BEGINS(disk[m], shown))
inline check() { HOLDS_ALWAYS(acknowledged_lost, HOLDS(0) && HOLDS(1) && HOLDS(2)) }

/* Forgets what nobody can read any more: messages to a primary that is dead or has gone on, and views of epochs that no
 * living member goes by. */
#define MAY_LEAD(e) (LIVES(PRIMARY(view[e])) && epoch[PRIMARY(view[e])] <= e)
#define GOES_BY(m, e) (LIVES(m) && epoch[m] <= e)
byte e;
inline forget() {
#ifdef ANNOUNCED_FIRST
  skip
#else
  for (e : 1 .. now) {
    if
    :: view[e] != 0 && !MAY_LEAD(e) ->
      SAID(e, 0, 0) = 0; SAID(e, 0, 1) = 0; SAID(e, 1, 0) = 0; SAID(e, 1, 1) = 0; SAID(e, 2, 0) = 0; SAID(e, 2, 1) = 0
    :: else -> skip
    fi
  }
  e = 1;
  do
  :: e < now && !GOES_BY(0, e) && !GOES_BY(1, e) && !GOES_BY(2, e) -> view[e] = 0; e++
  :: else -> break
  od;
  e = 0
#endif
}

/* ---- The view service ---- */

/* The written view comes first; the leases of all who are dropped have run out before. */
inline announce(next) {
  view[now + 1] = next;
  now++;
#ifdef LEASES_FORGOTTEN
  fresh = 0;
#endif
  forget();
  check()
}

#ifdef ANNOUNCED_FIRST /* rule out: a view is written before anybody is told */
#define WRITTEN (written == now)
#define LAST_EPOCH written
inline write() { d_step { written < now -> written = now } }
#else
#define WRITTEN true
#define LAST_EPOCH now
#endif

/* What happens to the lease of a member before it is dropped. */
#ifdef NO_LEASE_WAIT /* rule out: a member is dropped once its lease has run out, or its process is gone */
#define RUNS_OUT(m) skip
#else
#ifdef LEASES_FORGOTTEN /* rule out: a service that has just started waits one lease */
#define RUNS_OUT(m) lease[m] = lease[m] && fresh
#else
#define RUNS_OUT(m) lease[m] = 0
#endif
#endif

/* Drops m; q is primary then: the present one if it stays. */
inline drop(m, q) {
  d_step {
    now < EPOCHS && WRITTEN && LISTS(view[now], m) && LISTS(view[now], q) &&
      (PRIMARY(view[now]) == q || PRIMARY(view[now]) == m) ->
    RUNS_OUT(m);
    announce(VIEW(MEMBERS(view[now]) & ~(1 << m), STORES(view[now]), q))
  }
}

#define WITH(view, m) VIEW(MEMBERS(view) | (1 << (m)), (STORES(view) & ~(1 << (m))) | (store[m] << (m)), PRIMARY(view))

#ifdef SERVICE_ADDS /* rule out: only the primary adds, and counts the joiner from its proposal on */
inline add(m) {
  d_step {
    now < EPOCHS && !IS_MEMBER(view[now], m) && FOLLOWS(m) && epoch[m] == now &&
      SAID(now, m, store[m]) == LENGTH(log[LEADER(m)]) && log[m] == log[LEADER(m)] ->
    announce(WITH(view[now], m))
  }
}
#else
#ifdef PROPOSAL_GIVEN_UP
inline add(m) {
  d_step {
    now < EPOCHS && LIVES(m) && sent == now * 8 + store[m] * 4 + m + 1 -> sent = 0; announce(WITH(view[now], m))
  }
}
#else
#define PROPOSES(p, m) (LEADS(p) && epoch[p] == now && proposed[p] == store[m] * 4 + (m) + 1)
inline add(m) {
  d_step {
    now < EPOCHS && WRITTEN && LIVES(m) && (PROPOSES(0, m) || PROPOSES(1, m) || PROPOSES(2, m)) ->
    announce(WITH(view[now], m))
  }
}
#endif
#endif

/* The service starts anew, from its file; members may outlive it for a while. */
inline restart_service() {
  d_step {
    restarts < RESTARTS && LAST_EPOCH < EPOCHS ->
    restarts++;
#ifdef ANNOUNCED_FIRST
    view[written + 1] = view[written];
    written++;
    now = written;
#else
    view[now + 1] = view[now];
    now++;
#endif
#ifdef LEASES_FORGOTTEN
    fresh = 1;
#endif
    forget();
    check()
  }
}

/* ---- Leases ---- */

/* A member gets its lease when it enters the present view, and holds it until it is dropped: the end of a lease takes
 * nothing but the right to serve, so a later end allows all that an earlier one does. LEASES_END_EARLY does without
 * this argument. */
#ifdef LEASES_END_EARLY
inline grant(m) {
  d_step { !lease[m] && LIVES(m) && epoch[m] == now && IS_MEMBER(view[now], m) -> lease[m] = 1 }
}
inline run_out(m) { d_step { lease[m] -> lease[m] = 0 } }
#endif

/* ---- Prepared ---- */

#ifdef PREPARED_BEFORE_CUT /* rule out: prepared is said when the cuts too are on the disk */
#define ON_DISK(m) BEGINS(disk[m], log[m])
#else
#ifdef PREPARED_BEFORE_WRITTEN /* rule out: prepared is said when the entries are on the disk */
#define ON_DISK(m) true
#else
#define ON_DISK(m) (disk[m] == log[m])
#endif
#endif
/* Said as soon as it is true: a message that is read late is like one that was sent late. */
inline say_prepared(m) {
  if
  :: FOLLOWS(m) && BEGINS(log[LEADER(m)], log[m]) && ON_DISK(m) && SAID(epoch[m], m, store[m]) < LENGTH(log[m]) ->
    SAID(epoch[m], m, store[m]) = LENGTH(log[m])
  :: else -> skip
  fi
}

/* ---- Life of a member ---- */

inline die(m) {
  epoch[m] = 0; own[m] = 0; lease[m] = 0; proposed[m] = 0;
  log[m] = disk[m];
  if :: committed[m] > LENGTH(log[m]) -> committed[m] = LENGTH(log[m]) :: else -> skip fi;
#ifdef PENDING_READ
  if :: reader == m + 1 -> reader = 0; awaited = 0; floor = 0 :: else -> skip fi;
#endif
  forget();
  check()
}
inline crash(m) { d_step { LIVES(m) -> die(m) } }
#ifdef COMMITTED_FORGOTTEN
/* How far it had committed may not be on the disk yet. */
inline crash_forgetting(m) { d_step { LIVES(m) && committed[m] > 0 -> committed[m] = 0; die(m) } }
#endif
inline wipe(m) {
  d_step {
    !LIVES(m) && wipes < WIPES && store[m] == 0 ->
    wipes++; store[m] = 1; disk[m] = 0; log[m] = 0; committed[m] = 0; check()
  }
}

/* The first view after a start is the present one; later ones come in order, late perhaps. */
inline enter(m, to) {
  own[m] = view[to]; epoch[m] = to; proposed[m] = 0;
  lease[m] = to == now && IS_MEMBER(view[to], m);
  forget();
  say_prepared(0); say_prepared(1); say_prepared(2)
}
inline start(m) { d_step { !LIVES(m) -> enter(m, now) } }
inline enter_next(m) { d_step { LIVES(m) && epoch[m] < now -> enter(m, epoch[m] + 1) } }

/* ---- Log ---- */

inline flush(m) { d_step { LIVES(m) && disk[m] != log[m] -> disk[m] = log[m]; say_prepared(m); check() } }

/* A submission comes to the primary. One that is lost on its way is like one that was never made, but for what its
 * caller is told: outcome unknown. */
inline take_submission(m) {
  d_step {
    submitted < MUTATIONS && LEADS(m) && lease[m] && SIZE(own[m]) >= 2 ->
    submitted++;
    log[m] = log[m] | (submitted << (2 * LENGTH(log[m])))
  }
}
/* Too few in sync: it gets no entry, and the caller is told that it did not happen. */
inline refuse_submission(m) {
  d_step {
    submitted < MUTATIONS && LEADS(m) && SIZE(own[m]) < 2 -> submitted++; denied = denied | (1 << submitted)
  }
}

#ifdef CUT_ENDS_READ /* rule out: a read whose entry is cut waits for what is left below it */
#define AWAITED_AFTER_CUT(m) 0
#else
#define AWAITED_AFTER_CUT(m) LENGTH(log[m])
#endif
/* A follower's undecided tail gives way to the primary's. */
inline cut(m) {
  d_step {
    FOLLOWS(m) && !BEGINS(log[LEADER(m)], log[m]) ->
#ifdef DENIED_WHEN_CUT /* rule out: what has got an entry is never said to not have happened */
    denied = denied | (1 << AT(log[m], LENGTH(log[m])));
#endif
    log[m] = PREFIX(log[m],
      (AT(log[m], 1) == AT(log[LEADER(m)], 1)) * (1 + (AT(log[m], 2) == AT(log[LEADER(m)], 2))));
    /* Damage, which no sequence of crashes and wipes may bring about. */
#ifdef PENDING_READ
    if :: reader == m + 1 && awaited > LENGTH(log[m]) -> awaited = AWAITED_AFTER_CUT(m) :: else -> skip fi;
#endif
    HOLDS_ALWAYS(committed_cut, LENGTH(log[m]) >= committed[m]);
    say_prepared(m)
  }
}
inline append(m) {
  d_step {
    FOLLOWS(m) && log[m] != log[LEADER(m)] && BEGINS(log[LEADER(m)], log[m]) ->
    log[m] = PREFIX(log[LEADER(m)], LENGTH(log[m]) + 1);
    say_prepared(m)
  }
}

#define NEXT(m) (committed[m] + 1)
#define HAS_SAID(p, m) (!LISTS(own[p], m) || m == p || SAID(epoch[p], m, STORE(own[p], m)) >= NEXT(p))
#define JOINER(p) ((proposed[p] & 3) - 1)
#define JOINER_HAS_SAID(p) \
  (proposed[p] == 0 || SAID(epoch[p], JOINER(p), proposed[p] >> 2) >= NEXT(p))
#ifdef COMMIT_BY_MAJORITY /* rule out: every member of the view has prepared */
#define ALL_HAVE_SAID(p) \
  ((m0(p) + m1(p) + m2(p)) >= 2)
#define m0(p) (p == 0 || SAID(epoch[p], 0, STORE(own[p], 0)) >= NEXT(p))
#define m1(p) (p == 1 || SAID(epoch[p], 1, STORE(own[p], 1)) >= NEXT(p))
#define m2(p) (p == 2 || SAID(epoch[p], 2, STORE(own[p], 2)) >= NEXT(p))
#else
#define ALL_HAVE_SAID(p) (HAS_SAID(p, 0) && HAS_SAID(p, 1) && HAS_SAID(p, 2) && JOINER_HAS_SAID(p))
#endif

#define ON_DISKS(n, m) (BEGINS(disk[0], PREFIX(log[m], n)) + BEGINS(disk[1], PREFIX(log[m], n)) + \
  BEGINS(disk[2], PREFIX(log[m], n)))

#ifdef ANSWERED_BY_ONE /* rule out: a mutation is answered when two disks hold it */
#define ANSWERS(m) true
#else
#define ANSWERS(m) (SIZE(own[m]) >= 2)
#endif

/* The primary counts, and answers at once: nobody could be told earlier. It needs no lease for that. */
inline commit(m) {
  d_step {
    LEADS(m) && committed[m] < LENGTH(log[m]) && PREFIX(disk[m], NEXT(m)) == PREFIX(log[m], NEXT(m)) &&
      ALL_HAVE_SAID(m) ->
    committed[m]++;
    /* One view an epoch, and so one primary that commits in it. */
    HOLDS_ALWAYS(two_commit, view[epoch[m]] == own[m]);
    HOLDS_ALWAYS(denied_stands, !(denied & (1 << AT(log[m], committed[m]))));
    HOLDS_ALWAYS(committed_twice, (committed[m] < 2 || AT(log[m], committed[m]) != AT(log[m], 1)) &&
      (committed[m] < 3 || AT(log[m], 3) != AT(log[m], 2)));
    HOLDS_ALWAYS(order_changed, BEGINS(log[m], PREFIX(shown, committed[m])));
    if
    :: LENGTH(shown) < committed[m] && ANSWERS(m) ->
      shown = PREFIX(log[m], committed[m]);
      check();
      HOLDS_ALWAYS(on_one_disk, wipes > 0 || ON_DISKS(committed[m], m) >= 2)
    :: else -> skip
    fi
  }
}
inline hear_commit(m) {
  d_step {
    FOLLOWS(m) && committed[m] < LENGTH(log[m]) && committed[m] < committed[LEADER(m)] &&
      BEGINS(log[LEADER(m)], log[m]) && SAID(epoch[m], m, store[m]) > committed[m] -> committed[m]++
  }
}

/* ---- Joining ---- */

#ifndef SERVICE_ADDS
#ifdef PROPOSAL_GIVEN_UP
#define NONE_SENT (sent == 0)
#else
#define NONE_SENT true
#endif
/* The primary proposes who holds its whole log, what is undecided included. */
inline propose(m) {
  d_step {
    FOLLOWS(m) && !IS_MEMBER(own[m], m) && proposed[LEADER(m)] == 0 && epoch[m] < EPOCHS &&
      SAID(epoch[m], m, store[m]) == LENGTH(log[LEADER(m)]) && log[m] == log[LEADER(m)] && NONE_SENT ->
#ifdef PROPOSAL_GIVEN_UP /* rule out: the joiner counts while the outcome is not known */
    sent = epoch[m] * 8 + store[m] * 4 + m + 1;
#else
    proposed[LEADER(m)] = store[m] * 4 + m + 1
#endif
  }
}
#define ADDED(p) (now > epoch[p] && LISTS(view[epoch[p] + 1], JOINER(p)) && \
  STORE(view[epoch[p] + 1], JOINER(p)) == proposed[p] >> 2)
/* Certainly not added, and never by this proposal. */
inline decline(m) { d_step { proposed[m] != 0 && !ADDED(m) -> proposed[m] = 0 } }
#endif

/* ---- Clients ---- */

#ifdef DENIED_WHEN_UNLINKED /* rule out: a submission whose fate its origin does not know is outcome unknown */
inline deny() { d_step { submitted < MUTATIONS -> denied = denied | (1 << (submitted + 1)) } }
#endif
#ifdef RESUBMITTED /* rule out: a submission whose fate its origin does not know is never submitted again */
inline resubmit(m) {
  d_step {
    submitted > 0 && LEADS(m) && lease[m] && SIZE(own[m]) >= 2 && LENGTH(log[m]) < 3 ->
    log[m] = log[m] | (submitted << (2 * LENGTH(log[m])))
  }
}
#endif

#ifdef READ_WITHOUT_WAITING /* rule out: a read waits for what is undecided */
#define DECIDED(m) true
#else
#define DECIDED(m) (committed[m] == LENGTH(log[m]))
#endif

/* A read that arrives when nothing is undecided: everything that was shown before is there. */
inline read(m) {
  d_step {
    SERVES(m) && DECIDED(m) && (LENGTH(shown) != committed[m] || PREFIX(log[m], committed[m]) != shown) ->
    HOLDS_ALWAYS(stale_read, BEGINS(PREFIX(log[m], committed[m]), shown));
    shown = PREFIX(log[m], committed[m]);
    check()
  }
}
#ifdef PENDING_READ
inline begin_read(m) {
  d_step {
    reader == 0 && SERVES(m) && !DECIDED(m) ->
    reader = m + 1; awaited = LENGTH(log[m]); floor = shown
  }
}
/* All that it waits for is committed or cut: then the read is answered in one turn on what is committed, whatever is undecided by then. */
inline end_read(m) {
  d_step {
    reader == m + 1 && SERVES(m) && committed[m] >= awaited ->
    HOLDS_ALWAYS(stale_read, BEGINS(PREFIX(log[m], committed[m]), floor));
    HOLDS_ALWAYS(order_changed, BEGINS(log[m], PREFIX(shown, committed[m])));
    if
    :: committed[m] > LENGTH(shown) -> shown = PREFIX(log[m], committed[m])
    :: else -> skip
    fi;
    reader = 0; awaited = 0; floor = 0;
    check()
  }
}
#endif

#define EACH(step) step(0) :: step(1) :: step(2)

init {
  d_step {
    view[1] = VIEW(7, 0, 0);
    epoch[0] = 1; epoch[1] = 1; epoch[2] = 1;
    own[0] = view[1]; own[1] = view[1]; own[2] = view[1];
    lease[0] = 1; lease[1] = 1; lease[2] = 1
  }
end:
  do
  :: drop(0, 1) :: drop(0, 2) :: drop(1, 0) :: drop(1, 2) :: drop(2, 0) :: drop(2, 1)
  :: EACH(add)
  :: restart_service()
  :: EACH(crash)
  :: EACH(start)
  :: EACH(wipe)
  :: EACH(enter_next)
  :: EACH(flush)
  :: EACH(take_submission)
  :: EACH(refuse_submission)
  :: EACH(cut)
  :: EACH(append)
  :: EACH(commit)
  :: EACH(hear_commit)
#ifndef SERVICE_ADDS
  :: EACH(propose)
  :: EACH(decline)
#endif
  :: EACH(read)
#ifdef LEASES_END_EARLY
  :: EACH(grant)
  :: EACH(run_out)
#endif
#ifdef COMMITTED_FORGOTTEN
  :: EACH(crash_forgetting)
#endif
#ifdef PENDING_READ
  :: EACH(begin_read)
  :: EACH(end_read)
#endif
#ifdef ANNOUNCED_FIRST
  :: write()
#endif
#ifdef DENIED_WHEN_UNLINKED
  :: deny()
#endif
#ifdef RESUBMITTED
  :: EACH(resubmit)
#endif
  od
}

#!/usr/bin/env escript
%%! +S 1:1
%% Erlang/OTP on one scheduler. With "plain", processes send with ! and receive; with "gen_server", they are gen_servers, which is
%% what OTP's supervisors run: cast is one way, call is an ask. Mailboxes have no bounds. Compiled, not interpreted.
-mode(compile).
-export([init/1, handle_cast/2, handle_call/3]).

main([Kind, Work, Count]) ->
    Took = work(list_to_atom(Kind), list_to_atom(Work), list_to_integer(Count)),
    io:format("{\"seconds\": ~.9f, \"version\": \"~s\"}~n", [Took / 1.0e9, erlang:system_info(otp_release)]).

now_ns() -> erlang:monotonic_time(nanosecond).

timed(Begin) ->
    erlang:garbage_collect(),
    Began = now_ns(),
    Begin(),
    receive done -> ok end,
    now_ns() - Began.

%% ---- plain processes

work(plain, 'one-way', Count) ->
    Me = self(),
    Sink = spawn_link(fun() -> sink(Count, Me) end),
    Source = spawn_link(fun() -> receive go -> send([Sink], Count) end end),
    timed(fun() -> Source ! go end);
work(plain, 'fan-in', Count) ->
    Me = self(),
    Each = Count div 10,
    Sink = spawn_link(fun() -> sink(Each * 10, Me) end),
    Sources = [spawn_link(fun() -> receive go -> send([Sink], Each) end end) || _ <- lists:seq(1, 10)],
    timed(fun() -> [Source ! go || Source <- Sources] end);
work(plain, 'fan-out', Count) ->
    Me = self(),
    Each = Count div 10,
    All = spawn_link(fun() -> sink(10, Me) end),
    Sinks = [spawn_link(fun() -> sink(Each, All) end) || _ <- lists:seq(1, 10)],
    Source = spawn_link(fun() -> receive go -> send(Sinks, Each) end end),
    timed(fun() -> Source ! go end);
work(plain, pipeline, Count) ->
    Me = self(),
    Sink = spawn_link(fun() -> sink(Count, Me) end),
    First = lists:foldl(fun(_, Next) -> spawn_link(fun() -> stage(Next) end) end, Sink, lists:seq(1, 4)),
    Source = spawn_link(fun() -> receive go -> send([First], Count) end end),
    timed(fun() -> Source ! go end);
work(plain, ask, Count) ->
    Me = self(),
    Server = spawn_link(fun server/0),
    Client = spawn_link(fun() -> receive go -> ask(Server, 0, Count), Me ! done end end),
    timed(fun() -> Client ! go end);
work(plain, 'ping-pong', Count) -> around(2, 2 * Count);
work(plain, ring, Count) -> around(1000, Count);

%% ---- gen_server

work(gen_server, 'one-way', Count) ->
    {ok, Sink} = gen_server:start_link(?MODULE, {Count, self()}, []),
    Source = spawn_link(fun() -> receive go -> cast(Sink, Count) end end),
    timed(fun() -> Source ! go end);
work(gen_server, ask, Count) ->
    Me = self(),
    {ok, Server} = gen_server:start_link(?MODULE, {0, none}, []),
    Client = spawn_link(fun() -> receive go -> call(Server, 0, Count), Me ! done end end),
    timed(fun() -> Client ! go end).

around(Players, Hops) ->
    Me = self(),
    Refs = [spawn_link(fun() -> receive {next, Next} -> player(Next, Me) end end) || _ <- lists:seq(1, Players)],
    [Ref ! {next, Next} || {Ref, Next} <- lists:zip(Refs, tl(Refs) ++ [hd(Refs)])],
    erlang:yield(),
    timed(fun() -> hd(Refs) ! Hops end).

sink(0, Owner) -> Owner ! done;
sink(Left, Owner) -> receive _ -> sink(Left - 1, Owner) end.

send(_, 0) -> ok;
send(Targets, Left) -> [Target ! Left || Target <- Targets], send(Targets, Left - 1).

stage(Next) -> receive Message -> Next ! Message, stage(Next) end.

player(Next, Owner) ->
    receive
        0 -> Owner ! done;
        Left -> Next ! Left - 1, player(Next, Owner)
    end.

server() -> receive {From, Ref, Number} -> From ! {Ref, Number + 1}, server() end.

ask(_, Count, Count) -> ok;
ask(Server, Number, Count) ->
    Ref = make_ref(),
    Server ! {self(), Ref, Number},
    receive {Ref, Answer} -> ask(Server, Answer, Count) end.

cast(_, 0) -> ok;
cast(Sink, Left) -> gen_server:cast(Sink, Left), cast(Sink, Left - 1).

call(_, Count, Count) -> ok;
call(Server, Number, Count) -> call(Server, gen_server:call(Server, Number), Count).

init(State) -> {ok, State}.
handle_cast(_, {1, Owner}) -> Owner ! done, {noreply, {0, Owner}};
handle_cast(_, {Left, Owner}) -> {noreply, {Left - 1, Owner}}.
handle_call(Number, _, State) -> {reply, Number + 1, State}.

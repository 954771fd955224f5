"""Work in processes of its own, a few at a time: a fork takes no file along that another thread has open."""
import multiprocessing
import multiprocessing.connection
import signal
import traceback


def in_processes(works, at_once):
    """Calls each of works in a process; gives what they return, in their order. The first that raises ends them all."""
    results, waiting, running = [None] * len(works), list(enumerate(works)), {}
    try:
        while waiting or running:
            while waiting and len(running) < at_once:
                number, work = waiting.pop(0)
                running.update([_start(number, work)])
            for pipe in multiprocessing.connection.wait(list(running)):
                number, process = running.pop(pipe)
                well, results[number] = pipe.recv()
                process.join()
                assert well, results[number]
    finally:
        for _, process in running.values():
            process.terminate()
        for _, process in running.values():
            process.join()
    return results


def _start(number, work):
    pipe, end = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("fork").Process(target=_work, args=(work, end))
    process.start()
    end.close()
    return pipe, (number, process)


def _work(work, pipe):
    signal.signal(signal.SIGTERM, lambda *_: exit(1))    # whatever was started is ended on the way out
    try:
        result = True, work()
    except BaseException:    # pylint: disable=broad-except
        result = False, traceback.format_exc()
    pipe.send(result)

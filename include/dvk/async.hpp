// An endpoint for coroutines of Boost.Asio: many calls and receives under way at once, on one
// thread.
//
// Header-only and apart from the rest, so that libdvk itself needs no Boost. Usage:
//
//   boost::asio::awaitable<void> serve(dvk::AsyncEndpoint& endpoint) {
//     while (auto request = co_await endpoint.receive_request()) {
//       endpoint.reply(*request, answer(request->payload));
//     }
//   }
//   dvk::AsyncEndpoint endpoint(io.get_executor(), *dvk::Endpoint::open());
//   boost::asio::co_spawn(io, serve(endpoint), ...);
//   boost::asio::co_spawn(io, endpoint.run(), ...);   // serves until stop()
//
// All of it belongs to one thread (or strand). Every operation ends when run() ends.
#pragma once

#include <algorithm>
#include <list>
#include <optional>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <dvk/endpoint.hpp>

namespace dvk {

class AsyncEndpoint {
 public:
  AsyncEndpoint(boost::asio::any_io_executor executor, Endpoint endpoint)
      : endpoint_(std::move(endpoint)),
        executor_(std::move(executor)),
        descriptor_(executor_),
        clock_(executor_) {}
  AsyncEndpoint(const AsyncEndpoint&) = delete;
  AsyncEndpoint& operator=(const AsyncEndpoint&) = delete;
  // run() must have ended.
  ~AsyncEndpoint() = default;

  // For everything that does not block: address, notify, grant, ... Call kick() after it.
  Endpoint& endpoint() { return endpoint_; }

  // Serves the endpoint and completes the operations below, until stop() or until the endpoint
  // ends; then every operation under way ends with `cancelled` or with what ended the endpoint.
  boost::asio::awaitable<Result<void>> run() {
    boost::system::error_code failure;
    // The descriptor stays the endpoint's: it is released, not closed, at the end.
    descriptor_.assign(endpoint_.poll_fd(), failure);
    if (failure) co_return dvs::fail_os("watch the endpoint", failure.value());
    Result<void> result;
    while (result && !is_stopping_) result = co_await turn();
    descriptor_.release();
    const Error reason =
        result ? Error{Errc::cancelled, 0, "the endpoint was stopped"} : result.error();
    end_ = reason;
    for (Waiting* waiting : std::exchange(waiting_, {})) waiting->finish(std::unexpected(reason));
    co_return result;
  }

  void stop() {
    is_stopping_ = true;
    kick();
  }

  // Lets run() look again: after using endpoint() directly.
  void kick() {
    is_kicked_ = true;
    clock_.cancel();
  }

  // As the blocking forms of Endpoint.
  boost::asio::awaitable<Result<Incoming>> receive(Deadline deadline = {}) {
    return operate<Incoming>(deadline, [](Endpoint& e) { return e.receive(Deadline::now()); });
  }
  boost::asio::awaitable<Result<Request>> receive_request(Deadline deadline = {}) {
    return operate<Request>(deadline,
                            [](Endpoint& e) { return e.receive_request(Deadline::now()); });
  }
  boost::asio::awaitable<Result<Bytes>> call(Address to, Bytes payload, Deadline deadline = {}) {
    const Result<CallId> call = endpoint_.start_call(to, payload);
    if (!call) co_return std::unexpected(call.error());
    auto reply = co_await operate<Bytes>(
        deadline, [id = *call](Endpoint& e) { return e.finish_call(id, Deadline::now()); });
    if (!reply && (reply.error() == Errc::deadline || reply.error() == Errc::cancelled)) {
      endpoint_.cancel_call(*call);
    }
    co_return reply;
  }
  boost::asio::awaitable<Result<void>> send(Address to, Bytes payload, Deadline deadline = {}) {
    return operate<void>(deadline, [to, payload = std::move(payload)](Endpoint& e) {
      auto sent = e.send(to, payload, Deadline::now());
      if (!sent && sent.error() == Errc::queue_full)
        return Result<void>(dvs::fail(Errc::would_block));
      return sent;
    });
  }
  Result<void> reply(const Request& request, BytesView payload) {
    auto replied = endpoint_.reply(request, payload);
    kick();
    return replied;
  }

 private:
  // An operation that run() tries at each turn.
  struct Waiting {
    virtual ~Waiting() = default;
    virtual bool attempt() = 0;  // true: finished
    virtual void finish(std::unexpected<Error> reason) = 0;
    dvs::TimePoint deadline;
  };
  template <class T, class Operation>
  struct Attempt final : Waiting {
    Attempt(boost::asio::any_io_executor executor, Endpoint& target, Operation&& action)
        : endpoint(target), operation(std::move(action)), done(executor, dvs::TimePoint::max()) {}
    bool attempt() override {
      auto outcome = operation(endpoint);
      if (!outcome && outcome.error() == Errc::would_block) return false;
      result.emplace(std::move(outcome));
      done.cancel();
      return true;
    }
    void finish(std::unexpected<Error> reason) override {
      result.emplace(std::move(reason));
      done.cancel();
    }
    Endpoint& endpoint;
    Operation operation;
    boost::asio::steady_timer done;  // cancelled when there is a result
    std::optional<Result<T>> result;
  };

  template <class T, class Operation>
  boost::asio::awaitable<Result<T>> operate(Deadline deadline, Operation operation) {
    if (end_) co_return std::unexpected(*end_);
    Attempt<T, Operation> attempt(executor_, endpoint_, std::move(operation));
    attempt.deadline = deadline.at();
    if (!attempt.attempt()) {
      const auto place = waiting_.insert(waiting_.end(), &attempt);
      kick();
      boost::system::error_code ignored;
      co_await attempt.done.async_wait(
          boost::asio::redirect_error(boost::asio::use_awaitable, ignored));
      if (!attempt.result) {  // this coroutine was cancelled from outside
        waiting_.erase(place);
        co_return dvs::fail(Errc::cancelled);
      }
    }
    co_return *std::move(attempt.result);
  }

  boost::asio::awaitable<Result<void>> turn() {
    using namespace boost::asio::experimental::awaitable_operators;
    is_kicked_ = false;
    const Result<dvs::Duration> sleep = endpoint_.prepare_sleep();
    if (!sleep) co_return std::unexpected(sleep.error());
    const bool has_finished = attempt_all();
    if (!has_finished && !is_kicked_ && *sleep != dvs::Duration::zero()) {
      clock_.expires_at(next_deadline(*sleep));
      boost::system::error_code first, second;
      co_await (
          descriptor_.async_wait(boost::asio::posix::stream_descriptor::wait_read,
                                 boost::asio::redirect_error(boost::asio::use_awaitable, first)) ||
          clock_.async_wait(boost::asio::redirect_error(boost::asio::use_awaitable, second)));
    } else {
      clock_.expires_at(dvs::TimePoint::min());  // let the others run
      co_await clock_.async_wait(boost::asio::use_awaitable);
    }
    co_return endpoint_.serve();
  }

  bool attempt_all() {
    const dvs::TimePoint now = std::chrono::steady_clock::now();
    bool has_finished = false;
    for (auto place = waiting_.begin(); place != waiting_.end();) {
      Waiting* waiting = *place;
      bool is_finished = waiting->attempt();
      if (!is_finished && waiting->deadline <= now) {
        waiting->finish(dvs::fail(Errc::deadline));
        is_finished = true;
      }
      place = is_finished ? waiting_.erase(place) : std::next(place);
      has_finished = has_finished || is_finished;
    }
    return has_finished;
  }

  dvs::TimePoint next_deadline(dvs::Duration sleep) const {
    const dvs::TimePoint now = std::chrono::steady_clock::now();
    dvs::TimePoint until =
        sleep < dvs::TimePoint::max() - now ? now + sleep : dvs::TimePoint::max();
    for (const Waiting* waiting : waiting_) until = std::min(until, waiting->deadline);
    return until;
  }

  Endpoint endpoint_;
  boost::asio::any_io_executor executor_;
  boost::asio::posix::stream_descriptor descriptor_;
  boost::asio::steady_timer clock_;
  std::list<Waiting*> waiting_;  // each lives in the frame of its operation
  std::optional<Error> end_;
  bool is_stopping_ = false;
  bool is_kicked_ = false;
};

}  // namespace dvk

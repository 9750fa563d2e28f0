/// The last events in memory, each with a number, so that whoever follows them can stop for a while and go on: what a
/// slow reader or one that was cut off missed is known, and no reader makes anything wait.
struct EventRing: Sendable {
  /// Events that are kept.
  static let capacity = 16384

  private var events: [TimelineEvent] = []
  /// The number that the next event gets; the first is 1.
  private(set) var next: UInt64 = 1

  /// The number of the oldest event that is still here.
  var oldest: UInt64 { next - UInt64(events.count) }

  mutating func add(_ event: TimelineEvent) {
    if events.count < Self.capacity {
      events.append(event)
    } else {
      events[Int((next - 1) % UInt64(Self.capacity))] = event
    }
    next += 1
  }

  subscript(number: UInt64) -> TimelineEvent { events[Int((number - 1) % UInt64(Self.capacity))] }
}

/// One follower of what happens. For use by one task.
package final class TimelineReader: Sendable {
  package struct Batch: Hashable, Sendable {
    /// In order, each with its number; empty where it was only woken.
    package var events: [Numbered] = []
    /// How many events this reader was too slow for.
    package var lost: UInt64 = 0
  }

  package struct Numbered: Hashable, Sendable {
    package var number: UInt64
    package var event: TimelineEvent
  }

  private let timeline: Timeline
  private let number: Int

  init(_ timeline: Timeline, number: Int) {
    self.timeline = timeline
    self.number = number
  }

  deinit { timeline.leave(number) }

  /// Waits for events.
  /// - Returns: `nil` where the appliance stops, or the task was cancelled.
  package func next() async -> Batch? {
    while !Task.isCancelled {
      if let answer = timeline.take(number) { return answer.batch }
      await withTaskCancellationHandler {
        await withCheckedContinuation { timeline.wait(number, $0, isCancelled: { Task.isCancelled }) }
      } onCancel: {
        timeline.wake(number)
      }
    }
    return nil
  }

  /// Lets `next` return, with nothing where there is nothing.
  package func poke() { timeline.poke(number) }

  /// Lets `next` return `nil` from now on.
  package func end() { timeline.end(number) }
}

import NIOCore
import NetworkTypes
import Synchronization

/// Lets connections send at the rates of a `DeliveryShaper`. One for a server, shared by its event loops.
final class DeliveryGate: Sendable {
  typealias Shaper = DeliveryShaper<ObjectIdentifier>

  /// A connection that sends: what it is told when it may go on, in its own event loop.
  final class Pass: Sendable {
    let client: IPv4Address
    fileprivate let eventLoop: any EventLoop
    fileprivate let resume: @Sendable () -> Void

    init(client: IPv4Address, eventLoop: any EventLoop, resume: @escaping @Sendable () -> Void) {
      self.client = client
      self.eventLoop = eventLoop
      self.resume = resume
    }
  }

  private struct State {
    var shaper: Shaper
    var waiting: [ObjectIdentifier: Pass] = [:]
    /// When the timer that is set fires.
    var due: NIODeadline?
  }

  private let state: Mutex<State>

  /// Bytes asked for at once: small enough that turns are short even where rates are low.
  static let pieceBytes = 64 << 10

  init(_ rates: DeliveryRates) {
    state = Mutex(State(shaper: Shaper(rates)))
  }

  /// - Returns: Whether the piece may be sent now; else the pass is resumed when it may.
  func ask(_ pass: Pass, bytes: Int) -> Bool {
    let now = NIODeadline.now()
    let (isGranted, due) = state.withLock { state in
      let isGranted = state.shaper.ask(
        ObjectIdentifier(pass), pass.client, bytes: bytes, now: Int64(clamping: now.uptimeNanoseconds))
      if !isGranted { state.waiting[ObjectIdentifier(pass)] = pass }
      return (isGranted, timerToSet(&state))
    }
    if let due { set(due, on: pass.eventLoop) }
    return isGranted
  }

  /// The connection is gone.
  func withdraw(_ pass: Pass) {
    state.withLock { state in
      guard state.waiting.removeValue(forKey: ObjectIdentifier(pass)) != nil else { return }
      state.shaper.withdraw(ObjectIdentifier(pass))
    }
  }

  private func timerToSet(_ state: inout State) -> NIODeadline? {
    guard let next = state.shaper.nextTime else { return nil }
    let due = NIODeadline.uptimeNanoseconds(UInt64(max(0, next)))
    if let set = state.due, set <= due { return nil }
    state.due = due
    return due
  }

  private func set(_ due: NIODeadline, on eventLoop: any EventLoop) {
    // Not for each piece by itself: what is due within a millisecond goes together.
    _ = eventLoop.scheduleTask(deadline: max(due, .now() + .milliseconds(1))) { [self] in
      let (passes, next) = state.withLock { state in
        state.due = nil
        let granted = state.shaper.advance(now: Int64(clamping: NIODeadline.now().uptimeNanoseconds))
        return (granted.compactMap { state.waiting.removeValue(forKey: $0) }, timerToSet(&state))
      }
      for pass in passes { pass.eventLoop.execute(pass.resume) }
      if let next { set(next, on: eventLoop) }
    }
  }
}

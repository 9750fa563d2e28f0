import CapsuleFormat
import StateProtocol

/// Gives running nodes what they are ordered to take over, and keeps what became of it.
struct LivesyncKeeper: Sendable {
  let registry: Registry
  let board: StatusBoard

  /// The step that a node which reports is to do; `nil` where there is none.
  func step(for node: String, _ boot: Boot?, _ report: StateReport) -> Step? {
    guard report.state != "init", let order = registry.read({ $0.livesyncs[node] }), order.outcome == nil else {
      return nil
    }
    let reported = report.facts.generation.flatMap { Digest($0) } ?? boot?.digest
    let run = "run perseid vnfs livesync \(order.vnfs) \(node) again"
    if boot?.vnfs == order.vnfs, reported == order.digest {
      finish(node, order, .done, "it has booted generation \(order.generation)")
    } else if boot?.vnfs != order.vnfs || reported != order.from {
      finish(node, order, .failed, "it has booted something else meanwhile: \(run)")
    } else if report.facts.steps?.contains(Step.Kind.livesync.text) != true {
      finish(
        node, order, .failed,
        "the client that it has booted with is too old to take over another generation: boot it, or give the "
          + "capsule this appliance's stage 1 (perseid vnfs rebuild \(order.vnfs))")
    } else {
      return order.step
    }
    return nil
  }

  /// The generation that a running node took over, where it is not the one that it booted.
  func generation(_ boot: Boot?, _ report: StateReport) -> Int? {
    guard report.state != "init", let boot, let digest = report.facts.generation.flatMap({ Digest($0) }),
      digest != boot.digest
    else { return nil }
    return registry.read { $0.capsules[boot.vnfs]?.generations.last { $0.digest == digest }?.number }
  }

  /// A node says how that step went.
  func heard(_ node: String, _ event: StepEvent, _ words: String) {
    guard event.step == LivesyncOrder.stepName, event.outcome == .done || event.outcome == .failed,
      let order = registry.read({ $0.livesyncs[node] }), order.outcome == nil
    else { return }
    if event.outcome == .done { board.synchronised(node, with: order.digest) }
    finish(node, order, event.outcome == .done ? .done : .failed, words)
  }

  private func finish(_ node: String, _ order: LivesyncOrder, _ outcome: LivesyncOrder.Outcome, _ detail: String) {
    var order = order
    order.outcome = outcome
    order.detail = detail.isEmpty ? nil : detail
    // Where it is not written, the node is given the step again, which comes to the same.
    guard let change = try? Change.put(RecordKey.livesync + node, order) else { return }
    registry.store.commit([change], expecting: nil) { _ in }
  }
}

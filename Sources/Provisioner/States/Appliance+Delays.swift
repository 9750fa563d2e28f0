extension Appliance {
  /// Says once of each node that it has fallen silent, that it is stuck, and that it has gone on.
  package func noticeDelays(now: Moment) {
    let settings = configuration.states
    for (name, status, seconds) in board.newlySilent(now: now, after: { settings.silence(in: $0) }) {
      note(
        name, status, "silent",
        "no report for \(Int(seconds)) s, where one is due every \(settings.interval(of: status.state)) s", now)
    }
    for stuck in board.newlyStuck(now: now, by: settings) {
      let status = stuck.status
      guard let seconds = stuck.seconds else {
        note(stuck.node, status, "goes on", "no longer stuck in \(status.place)", now)
        continue
      }
      note(
        stuck.node, status, "stuck",
        "in \(status.place) for \(Int(seconds)) s, where the deadline is "
          + "\(settings.deadline(of: status.state) ?? 0) s (states.\(status.state).deadlineSeconds)", now)
    }
  }

  private func note(_ node: String, _ status: NodeStatus, _ event: String, _ detail: String, _ now: Moment) {
    let mac = registry.read { view in
      status.boot.flatMap { view.boots[$0]?.mac } ?? view.node(named: node)?.macs.first
    }
    if let mac { ledger.record(mac, .state, event, detail, now: now) }
  }
}

extension NodeStatus {
  /// `init, step 20-disk`: the step that is under way, else the last one that was heard of.
  var place: String {
    guard let step else { return state }
    return stepSince == nil ? "\(state), after step \(step)" : "\(state), step \(step)"
  }
}

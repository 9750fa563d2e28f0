import CapsuleFormat
import NetworkTypes

extension Appliance {
  package func nodeStatus(_ patterns: [String]) throws -> [NodeStatusView] {
    let now = Moment.now
    return try select(patterns).map { status($0, now) }
  }

  /// How a node is, as far as was heard.
  func status(_ effective: EffectiveNode, _ now: Moment = .now) -> NodeStatusView {
    let status = board.status(of: effective.name)
    let boot = registry.read { $0.lastBoot(of: effective.name) }
    if let boot, !hasReported(boot, status) {
      return booting(effective, boot, status, now)
    }
    var view = NodeStatusView(
      name: effective.name, mac: effective.node.macs.first, address: address(of: effective),
      group: effective.group, groups: effective.groups, vnfs: effective.vnfs, root: rootMode(of: effective),
      state: status?.state ?? "unknown",
      condition: .good, since: status?.since, generation: boot?.generation, synchronised: synchronised(boot, status),
      step: status?.step, lastContact: status?.lastContact, boot: boot?.id, detail: status?.detail)
    guard let status else { return view }
    if status.stuck != nil {
      view.condition = .stuck
      view.detail = "stuck in \(status.place) for \(Self.words(board.secondsInPlace(effective.name, now: now) ?? 0))"
    } else if board.isSilent(effective.name) {
      view.condition = .silent
      view.detail = "silent for \(Self.words(board.secondsSinceContact(effective.name, now: now) ?? 0))"
    } else if let wait = status.wait {
      view.condition = .waiting
      view.detail = "waits: \(wait)"
    }
    return view
  }

  /// The generation that a running node took over, where it is not the one that it booted.
  func synchronised(_ boot: Boot?, _ status: NodeStatus?) -> Int? {
    guard let boot, let status, status.boot == boot.id, let text = status.generation,
      let digest = Digest(text), digest != boot.digest
    else { return nil }
    return registry.read { $0.capsules[boot.vnfs]?.generations.last { $0.digest == digest }?.number }
  }

  /// Whether a node was heard of since this boot was opened. A running system that goes on reporting while its machine
  /// is said to boot counts: what is heard is true.
  private func hasReported(_ boot: Boot, _ status: NodeStatus?) -> Bool {
    guard let status else { return false }
    if status.boot == boot.id { return true }
    let heard = board.lastHeard(boot.node)
    guard let bound = ledger.bound(boot) else {
      // Of what an appliance before this one bound and heard, only the wall clock's times are left.
      return heard != nil || status.lastContact >= boot.bound
    }
    return heard.map { $0 >= bound.uptime } ?? false
  }

  private func booting(
    _ effective: EffectiveNode, _ boot: Boot, _ status: NodeStatus?, _ now: Moment
  ) -> NodeStatusView {
    let seconds = ledger.secondsSinceBound(boot, now: now)
    let deadline = configuration.states.deadline(of: "init").map { Double($0) } ?? .infinity
    let phase = ledger.attemptID(of: boot.mac) == boot.id ? ledger.phase(of: boot.mac) : nil
    let step =
      switch phase {
      case .script: "script"
      case .loading: "kernel and initramfs"
      default: "firmware"
      }
    let isLate = seconds > deadline
    return NodeStatusView(
      name: effective.name, mac: effective.node.macs.first, address: address(of: effective),
      group: effective.group, groups: effective.groups, vnfs: effective.vnfs, root: rootMode(of: effective),
      state: "booting",
      condition: isLate ? .stuck : .good, since: boot.bound, generation: boot.generation, synchronised: nil,
      step: isLate ? step : nil, lastContact: status?.lastContact, boot: boot.id,
      detail: isLate ? "stuck after \(step): no report for \(Self.words(seconds)), switched off or hanging" : nil)
  }

  /// `40 s`, `12 min`, `3 h`, `5 d`.
  private static func words(_ seconds: Double) -> String {
    let whole = Int(max(0, min(seconds, 1e12)))
    return switch whole {
    case ..<120: "\(whole) s"
    case ..<7200: "\(whole / 60) min"
    case ..<172_800: "\(whole / 3600) h"
    default: "\(whole / 86400) d"
    }
  }

  package func nodeSummary() throws -> SummaryView {
    let now = Moment.now
    let nodes = try select([])
    var summary = SummaryView(
      nodes: nodes.count, enabled: nodes.count { $0.enabled }, troubles: [], states: [:], capsules: [:], groups: [:])
    var troubles: [SummaryView.Trouble: [String]] = [:]
    for node in nodes {
      let status = status(node, now)
      summary.states[status.state, default: 0] += 1
      summary.capsules[node.vnfs, default: 0] += 1
      for group in node.groups { summary.groups[group, default: 0] += 1 }
      guard status.condition != .good else { continue }
      let isAtStep = status.condition == .stuck
      troubles[
        SummaryView.Trouble(condition: status.condition, state: status.state, step: isAtStep ? status.step : nil),
        default: []
      ].append(node.name)
    }
    summary.troubles = troubles.map { trouble, names in
      var trouble = trouble
      trouble.count = names.count
      trouble.nodes = Array(names.prefix(SummaryView.Trouble.nameLimit))
      return trouble
    }.sorted { left, right in
      (left.condition, right.count, left.state, left.step ?? "") < (
        right.condition, left.count, right.state, right.step ?? ""
      )
    }
    return summary
  }
}

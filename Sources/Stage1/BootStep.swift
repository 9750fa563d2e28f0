/// One step of stage 1: a name, what it is for, and what it does.
package struct BootStep: Sendable {
  package let name: String
  /// For a person: what is there when it is done.
  package let purpose: String
  /// The step to go on with when this one failed; `nil`: this one.
  package let retryFrom: String?
  /// The kernel may hang in what the step asks of it: the machine restarts when that lasts so many seconds. `nil`: all
  /// that the step waits for has bounds of its own.
  package let hangSeconds: Double?
  package let run: @Sendable (Boot) throws -> Void

  package init(
    _ name: String, _ purpose: String, retryFrom: String? = nil, hangSeconds: Double? = nil,
    run: @escaping @Sendable (Boot) throws -> Void
  ) {
    self.name = name
    self.purpose = purpose
    self.retryFrom = retryFrom
    self.hangSeconds = hangSeconds
    self.run = run
  }
}

extension BootStep {
  /// From the kernel to the node's own init, in order.
  package static let all: [BootStep] = [
    BootStep("mounts", "the kernel's file systems are mounted, the command line is read", hangSeconds: 300) {
      try Mounts.run($0)
    },
    BootStep("modules", "drivers of the network cards are loaded", hangSeconds: 300) { try CardModules.run($0) },
    // A card that came late may ask for a driver that nothing asked for before. It is waited for 600 s at most.
    BootStep("link", "the card that booted is up and has a carrier", retryFrom: "modules", hangSeconds: 900) {
      try Link.run($0)
    },
    BootStep("address", "the card has an address", retryFrom: "link", run: { try Address.run($0) }),
    BootStep("report", "the appliance has answered state init with a plan", run: { try Report.run($0) }),
    BootStep("devices", "drivers of everything else are loaded", hangSeconds: 300) { try OtherModules.run($0) },
    BootStep("plan", "the plan's steps are done, the root is filled", retryFrom: "report") {
      try FollowPlan.run($0)
    },
    BootStep("hand-over", "the root has its name, its client and the lease", retryFrom: "report") {
      try HandOver.run($0)
    },
    BootStep("switch-root", "the node's own init runs", retryFrom: "report", run: { try SwitchRoot.run($0) }),
  ]

  /// The list as it is printed.
  package static func listing(_ steps: [BootStep] = all) -> String {
    let width = steps.map(\.name.count).max() ?? 0
    return steps.enumerated().map { number, step in
      "\(number + 1). \(step.name)\(String(repeating: " ", count: width - step.name.count))  \(step.purpose)"
    }.joined(separator: "\n")
  }
}

import Glibc
import Stage1
import StateClient

// One static executable: process 1 of the initramfs, and the client in the running node. As process 1
// the command line's words are not there (/proc is not mounted yet), so the process's number decides.
if getpid() == 1 && CommandLine.arguments.dropFirst().first != "run" { Stage1.run() }

if CommandLine.arguments.dropFirst().first == "unpack" {
  exit(UnpackCommand.run(Array(CommandLine.arguments.dropFirst(2))))
}

exit(ClientCommand.run(Array(CommandLine.arguments.dropFirst())))

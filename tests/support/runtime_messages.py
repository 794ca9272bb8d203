"""The messages of the CRI that the conformance suite sends and reads.

They are built from the table below in a descriptor pool of their own: no protoc is needed to run
the tests, and nothing meets the shim's own definitions. Field numbers and types are those of the
CRI API (k8s.io/cri-api, runtime/v1; v1alpha2 is the same on the wire). Enumerations are plain
numbers here; what the table leaves out is kept as unknown fields and takes part in comparisons.
"""

from __future__ import annotations

import re

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import Message

PACKAGE = "lab.runtime"

# One message a line: its name, then `number type name` for each field. `map` is map<string,
# string>, `*` stands before the type of a repeated field.
TABLE = """
Int64Value: 1 int64 value
UInt64Value: 1 uint64 value
KeyValue: 1 string key, 2 bytes value

VersionRequest: 1 string version
VersionResponse: 1 string version, 2 string runtime_name, 3 string runtime_version, \
 4 string runtime_api_version
StatusRequest: 1 bool verbose
StatusResponse: 1 RuntimeStatus status, 2 map info
RuntimeStatus: 1 *RuntimeCondition conditions
RuntimeCondition: 1 string type, 2 bool status, 3 string reason, 4 string message
RuntimeConfigRequest:
RuntimeConfigResponse:
UpdateRuntimeConfigRequest: 1 RuntimeConfig runtime_config
UpdateRuntimeConfigResponse:
RuntimeConfig: 1 NetworkConfig network_config
NetworkConfig: 1 string pod_cidr

ImageSpec: 1 string image, 2 map annotations, 18 string user_specified_image
AuthConfig: 1 string username, 2 string password, 3 string auth, 4 string server_address
Image: 1 string id, 2 *string repo_tags, 3 *string repo_digests, 4 uint64 size, \
 5 Int64Value uid, 6 string username, 7 ImageSpec spec, 8 bool pinned
ImageFilter: 1 ImageSpec image
ListImagesRequest: 1 ImageFilter filter
ListImagesResponse: 1 *Image images
ImageStatusRequest: 1 ImageSpec image, 2 bool verbose
ImageStatusResponse: 1 Image image, 2 map info
PullImageRequest: 1 ImageSpec image, 2 AuthConfig auth, 3 PodSandboxConfig sandbox_config
PullImageResponse: 1 string image_ref
RemoveImageRequest: 1 ImageSpec image
RemoveImageResponse:
ImageFsInfoRequest:
ImageFsInfoResponse: 1 *FilesystemUsage image_filesystems
FilesystemUsage: 1 int64 timestamp, 2 FilesystemIdentifier fs_id, 3 UInt64Value used_bytes, \
 4 UInt64Value inodes_used
FilesystemIdentifier: 1 string mountpoint

NamespaceOption: 1 int32 network, 2 int32 pid, 3 int32 ipc
LinuxSandboxSecurityContext: 1 NamespaceOption namespace_options
LinuxPodSandboxConfig: 1 string cgroup_parent, 2 LinuxSandboxSecurityContext security_context
PodSandboxMetadata: 1 string name, 2 string uid, 3 string namespace, 4 uint32 attempt
PodSandboxConfig: 1 PodSandboxMetadata metadata, 2 string hostname, 3 string log_directory, \
 6 map labels, 7 map annotations, 8 LinuxPodSandboxConfig linux
RunPodSandboxRequest: 1 PodSandboxConfig config, 2 string runtime_handler
RunPodSandboxResponse: 1 string pod_sandbox_id
StopPodSandboxRequest: 1 string pod_sandbox_id
StopPodSandboxResponse:
RemovePodSandboxRequest: 1 string pod_sandbox_id
RemovePodSandboxResponse:
PodSandboxStatusRequest: 1 string pod_sandbox_id, 2 bool verbose
PodSandboxStatusResponse: 1 PodSandboxStatus status, 2 map info
PodSandboxStatus: 1 string id, 2 PodSandboxMetadata metadata, 3 int32 state, 4 int64 created_at, \
 7 map labels, 8 map annotations, 9 string runtime_handler
PodSandboxStateValue: 1 int32 state
PodSandboxFilter: 1 string id, 2 PodSandboxStateValue state, 3 map label_selector
ListPodSandboxRequest: 1 PodSandboxFilter filter
ListPodSandboxResponse: 1 *PodSandbox items
PodSandbox: 1 string id, 2 PodSandboxMetadata metadata, 3 int32 state, 4 int64 created_at, \
 5 map labels, 6 map annotations, 7 string runtime_handler

LinuxContainerResources: 1 int64 cpu_period, 2 int64 cpu_quota, 3 int64 cpu_shares, \
 4 int64 memory_limit_in_bytes, 5 int64 oom_score_adj
LinuxContainerSecurityContext: 1 Capability capabilities, 2 bool privileged, \
 3 NamespaceOption namespace_options, 5 Int64Value run_as_user, 6 string run_as_username
Capability: 1 *string add_capabilities, 2 *string drop_capabilities
LinuxContainerConfig: 1 LinuxContainerResources resources, \
 2 LinuxContainerSecurityContext security_context
ContainerMetadata: 1 string name, 2 uint32 attempt
ContainerConfig: 1 ContainerMetadata metadata, 2 ImageSpec image, 3 *string command, \
 4 *string args, 5 string working_dir, 6 *KeyValue envs, 9 map labels, 10 map annotations, \
 11 string log_path, 12 bool stdin, 13 bool stdin_once, 14 bool tty, 15 LinuxContainerConfig linux
CreateContainerRequest: 1 string pod_sandbox_id, 2 ContainerConfig config, \
 3 PodSandboxConfig sandbox_config
CreateContainerResponse: 1 string container_id
StartContainerRequest: 1 string container_id
StartContainerResponse:
StopContainerRequest: 1 string container_id, 2 int64 timeout
StopContainerResponse:
RemoveContainerRequest: 1 string container_id
RemoveContainerResponse:
ContainerStateValue: 1 int32 state
ContainerFilter: 1 string id, 2 ContainerStateValue state, 3 string pod_sandbox_id, \
 4 map label_selector
ListContainersRequest: 1 ContainerFilter filter
ListContainersResponse: 1 *Container containers
Container: 1 string id, 2 string pod_sandbox_id, 3 ContainerMetadata metadata, 4 ImageSpec image, \
 5 string image_ref, 6 int32 state, 7 int64 created_at, 8 map labels, 9 map annotations, \
 10 string image_id
ContainerStatusRequest: 1 string container_id, 2 bool verbose
ContainerStatusResponse: 1 ContainerStatus status, 2 map info
ContainerStatus: 1 string id, 2 ContainerMetadata metadata, 3 int32 state, 4 int64 created_at, \
 5 int64 started_at, 6 int64 finished_at, 7 int32 exit_code, 8 ImageSpec image, \
 9 string image_ref, 10 string reason, 11 string message, 12 map labels, 13 map annotations, \
 15 string log_path, 17 string image_id
UpdateContainerResourcesRequest: 1 string container_id, 2 LinuxContainerResources linux
UpdateContainerResourcesResponse:
ReopenContainerLogRequest: 1 string container_id
ReopenContainerLogResponse:

ExecSyncRequest: 1 string container_id, 2 *string cmd, 3 int64 timeout
ExecSyncResponse: 1 bytes stdout, 2 bytes stderr, 3 int32 exit_code
ExecRequest: 1 string container_id, 2 *string cmd, 3 bool tty, 4 bool stdin, 5 bool stdout, \
 6 bool stderr
ExecResponse: 1 string url
AttachRequest: 1 string container_id, 2 bool stdin, 3 bool tty, 4 bool stdout, 5 bool stderr
AttachResponse: 1 string url
PortForwardRequest: 1 string pod_sandbox_id, 2 *int32 port
PortForwardResponse: 1 string url

ContainerStatsRequest: 1 string container_id
ContainerStatsResponse: 1 ContainerStats stats
ContainerStatsFilter: 1 string id, 2 string pod_sandbox_id, 3 map label_selector
ListContainerStatsRequest: 1 ContainerStatsFilter filter
ListContainerStatsResponse: 1 *ContainerStats stats
ContainerAttributes: 1 string id, 2 ContainerMetadata metadata, 3 map labels, 4 map annotations
ContainerStats: 1 ContainerAttributes attributes, 2 CpuUsage cpu, 3 MemoryUsage memory, \
 4 FilesystemUsage writable_layer
CpuUsage: 1 int64 timestamp, 2 UInt64Value usage_core_nano_seconds
MemoryUsage: 1 int64 timestamp, 2 UInt64Value working_set_bytes
PodSandboxStatsRequest: 1 string pod_sandbox_id
PodSandboxStatsResponse: 1 PodSandboxStats stats
PodSandboxStatsFilter: 1 string id, 2 map label_selector
ListPodSandboxStatsRequest: 1 PodSandboxStatsFilter filter
ListPodSandboxStatsResponse: 1 *PodSandboxStats stats
PodSandboxStats: 1 PodSandboxAttributes attributes
PodSandboxAttributes: 1 string id, 2 PodSandboxMetadata metadata, 3 map labels, 4 map annotations

GetContainerEventsRequest:
ContainerEventResponse: 1 string container_id, 2 int32 container_event_type, 3 int64 created_at
"""

_FIELD = re.compile(r"(\d+) (\*?)(\w+) (\w+)")


def message(name: str, /, **fields: object) -> Message:
    """Make the message `name` with these fields; raises KeyError for one the table lacks."""
    made: Message = _CLASSES[name](**fields)
    return made


def parse(name: str, body: bytes) -> Message:
    """Read the bytes of the message `name`; raises google.protobuf.message.DecodeError."""
    read: Message = _CLASSES[name].FromString(body)
    return read


def _describe(line: str, into: descriptor_pb2.DescriptorProto) -> None:
    kinds = descriptor_pb2.FieldDescriptorProto
    into.name, _, rest = line.partition(":")
    for number, repeated, kind, name in _FIELD.findall(rest):
        field = into.field.add(name=name, number=int(number))
        field.label = kinds.LABEL_REPEATED if repeated else kinds.LABEL_OPTIONAL
        if kind == "map":
            # What protoc makes of map<string, string>: a repeated entry message.
            entry = into.nested_type.add(name=f"{name.title().replace('_', '')}Entry")
            entry.options.map_entry = True
            for position, part in enumerate(("key", "value"), 1):
                entry.field.add(
                    name=part, number=position, type=kinds.TYPE_STRING, label=kinds.LABEL_OPTIONAL
                )
            field.label = kinds.LABEL_REPEATED
            field.type = kinds.TYPE_MESSAGE
            field.type_name = f".{PACKAGE}.{into.name}.{entry.name}"
        elif kind[0].isupper():
            field.type = kinds.TYPE_MESSAGE
            field.type_name = f".{PACKAGE}.{kind}"
        else:
            field.type = kinds.Type.Value(f"TYPE_{kind.upper()}")


def _classes() -> dict[str, type[Message]]:
    file = descriptor_pb2.FileDescriptorProto(
        name="lab/runtime.proto", package=PACKAGE, syntax="proto3"
    )
    for line in TABLE.splitlines():
        if line:
            _describe(line, file.message_type.add())
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    make = getattr(message_factory, "GetMessageClass", None)
    if make is None:  # protobuf before 4.22
        make = message_factory.MessageFactory(pool).GetPrototype
    names = [described.name for described in file.message_type]
    return {name: make(pool.FindMessageTypeByName(f"{PACKAGE}.{name}")) for name in names}


_CLASSES = _classes()

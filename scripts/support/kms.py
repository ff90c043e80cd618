"""A stand-in for the cloud's KMS: a server, and the calls that the demonstration and the tests need.

kms.py serve PORTFILE          moto on a free port of 127.0.0.1, its address in PORTFILE; until killed
kms.py serve-states PORTFILE   MiniStack, likewise: refuses what a key's state forbids, which moto does not
kms.py create-key              print the id of a new key                         ($KMS_ENDPOINT)
kms.py decrypt K=V < CIPHERTEXT   the plaintext, bytes; K=V is the encryption context
kms.py guard < POLICIES        make users or roles with {"NAME": ["ACTION", ...]}, print their keys, and have moto
                               check signatures and policies from now on
"""
import json
import os
import signal
import sys
import threading
import time


def client(service="kms"):
    import boto3
    return boto3.client(service, region_name="eu-central-1", endpoint_url=os.environ["KMS_ENDPOINT"],
                        aws_access_key_id="demonstration", aws_secret_access_key="demonstration")


def publish(portfile, host, port):
    with open(portfile + ".new", "w") as file:
        file.write(f"http://{host}:{port}")
    os.rename(portfile + ".new", portfile)


def end_with_parent():
    """A test that crashes takes its servers with it."""
    parent = os.getppid()

    def watch():
        while os.getppid() == parent:
            time.sleep(0.5)
        # At once: there is nothing to save, and a server that shuts down waits for its connections.
        os._exit(0)

    threading.Thread(target=watch, daemon=True).start()


def take_arns():
    """moto answers 500 to these calls if they name the key by its ARN, as AWS allows and recommends."""
    from moto.kms.models import KmsBackend

    def with_id(call):
        return lambda self, key_id, *others: call(self, self.get_key_id(key_id), *others)

    for name in ["schedule_key_deletion", "cancel_key_deletion", "disable_key", "enable_key"]:
        setattr(KmsBackend, name, with_id(getattr(KmsBackend, name)))


def serve(portfile):
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    from moto.server import ThreadedMotoServer
    take_arns()
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    publish(portfile, *server.get_host_and_port())
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    server.stop()


def serve_states(portfile):
    import asyncio
    import socket
    # MiniStack binds its own port on all addresses; this one is bound before and handed over.
    listener = socket.create_server(("127.0.0.1", 0))
    host, port = listener.getsockname()
    os.environ.update(GATEWAY_PORT=str(port), BIND_HOST=host, SERVICES="kms", LOG_LEVEL="WARNING")
    from hypercorn.asyncio import serve as run
    from hypercorn.config import Config
    from ministack.app import app

    async def requests_only(scope, receive, send):
        # Its start-up looks for containers of its own; a KMS needs none.
        if scope["type"] != "lifespan":
            await app(scope, receive, send)

    config = Config()
    config.bind = [f"fd://{listener.fileno()}"]
    config.loglevel = "WARNING"
    # It listens already, so an early call waits.
    publish(portfile, host, port)
    asyncio.run(run(requests_only, config))


def guard(policies):
    import urllib.request
    iam, sts = client("iam"), client("sts")
    found = {}
    for name, actions in policies.items():
        document = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": actions, "Resource": "*"}]})
        if name.startswith("role"):
            role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(
                {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}]}))
            iam.put_role_policy(RoleName=name, PolicyName="allowed", PolicyDocument=document)
            keys = sts.assume_role(RoleArn=role["Role"]["Arn"], RoleSessionName="test")["Credentials"]
            found[name] = {"id": keys["AccessKeyId"], "secret": keys["SecretAccessKey"], "token": keys["SessionToken"]}
        else:
            iam.create_user(UserName=name)
            iam.put_user_policy(UserName=name, PolicyName="allowed", PolicyDocument=document)
            keys = iam.create_access_key(UserName=name)["AccessKey"]
            found[name] = {"id": keys["AccessKeyId"], "secret": keys["SecretAccessKey"]}
    urllib.request.urlopen(urllib.request.Request(
        os.environ["KMS_ENDPOINT"] + "/moto-api/reset-auth", data=b"0", headers={"Content-Type": "text/plain"})).read()
    json.dump(found, sys.stdout)


def main():
    command, arguments = sys.argv[1], sys.argv[2:]
    if command == "serve":
        end_with_parent()
        serve(*arguments)
    elif command == "serve-states":
        end_with_parent()
        serve_states(*arguments)
    elif command == "create-key":
        print(client().create_key()["KeyMetadata"]["KeyId"])
    elif command == "decrypt":
        from botocore.exceptions import ClientError
        try:
            answer = client().decrypt(CiphertextBlob=sys.stdin.buffer.read(), EncryptionContext=dict([arguments[0].split("=")]))
        except ClientError as error:
            sys.exit(f"kms: {error}")
        sys.stdout.buffer.write(answer["Plaintext"])
    elif command == "guard":
        guard(json.load(sys.stdin))
    else:
        sys.exit(__doc__)


main()

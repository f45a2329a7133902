# An SQS queue with CloudTrail's records of EC2's answers to Karpenter, for aws.refusal_queue_url (docs/aws.md). It goes into the cluster's
# account and region, where a CloudTrail trail must log management events. deploy/iam/refusal-queue.yaml is the same for CloudFormation.

variable "karpenter_role_arn" {
  description = "ARN of the role that Karpenter calls EC2 with"
  type        = string
}

variable "controller_role_name" {
  description = "Name of the controller's role"
  type        = string
}

variable "queue_name" {
  description = "Each cluster needs its own queue. deploy/iam/policy.json allows names that begin with failoverctl"
  type        = string
  default     = "failoverctl-refusals"
}

resource "aws_sqs_queue" "refusals" {
  name                      = var.queue_name
  message_retention_seconds = 3600 # an older record changes nothing
  sqs_managed_sse_enabled   = true
}

resource "aws_cloudwatch_event_rule" "refusals" {
  name        = var.queue_name
  description = "EC2's answers to the fleet requests of Karpenter"
  event_pattern = jsonencode({
    "source"      = ["aws.ec2"]
    "detail-type" = ["AWS API Call via CloudTrail"]
    "detail" = {
      "eventSource" = ["ec2.amazonaws.com"]
      "eventName"   = ["CreateFleet"]
      "userIdentity" = {
        "sessionContext" = {
          "sessionIssuer" = {
            "arn" = [var.karpenter_role_arn]
          }
        }
      }
    }
  })
}

resource "aws_cloudwatch_event_target" "refusals" {
  rule      = aws_cloudwatch_event_rule.refusals.name
  target_id = "queue"
  arn       = aws_sqs_queue.refusals.arn
}

resource "aws_sqs_queue_policy" "refusals" {
  queue_url = aws_sqs_queue.refusals.url
  policy = jsonencode({
    "Version" = "2012-10-17"
    "Statement" = [
      {
        "Sid"       = "RuleSends"
        "Effect"    = "Allow"
        "Principal" = { "Service" = "events.amazonaws.com" }
        "Action"    = "sqs:SendMessage"
        "Resource"  = aws_sqs_queue.refusals.arn
        "Condition" = { "ArnEquals" = { "aws:SourceArn" = aws_cloudwatch_event_rule.refusals.arn } }
      },
      {
        "Sid"       = "NobodyElseSends"
        "Effect"    = "Deny"
        "Principal" = "*"
        "Action"    = "sqs:SendMessage"
        "Resource"  = aws_sqs_queue.refusals.arn
        "Condition" = { "ArnNotEquals" = { "aws:SourceArn" = aws_cloudwatch_event_rule.refusals.arn } }
      }
    ]
  })
}

resource "aws_iam_role_policy" "refusals" {
  name = "failoverctl-refusal-queue"
  role = var.controller_role_name
  policy = jsonencode({
    "Version" = "2012-10-17"
    "Statement" = [
      {
        "Sid"      = "ReadRefusals"
        "Effect"   = "Allow"
        "Action"   = ["sqs:DeleteMessage", "sqs:ReceiveMessage"]
        "Resource" = aws_sqs_queue.refusals.arn
      }
    ]
  })
}

output "queue_url" {
  description = "The value of aws.refusal_queue_url"
  value       = aws_sqs_queue.refusals.url
}
